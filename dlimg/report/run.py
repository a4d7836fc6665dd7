"""Runs as text: how one started and ended, and the table of all."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from dlimg.run.gpu_access import NVIDIA_CDI
from dlimg.run.model import RunRecord, RunStatus
from dlimg.units import bytes_text, counted, seconds_text

HEADINGS: Final = ("run", "from", "state", "exit", "started", "took", "GPU", "image", "command")
_MOST_FILES: Final = 10
# With these a table of runs fits into 140 columns; JSON has all.
_MOST_COMMAND: Final = 60
_MOST_IMAGE: Final = 24


def started_lines(status: RunStatus) -> Iterator[str]:
    """Yield the commands that a user of a run in the background needs."""
    run = status.record.run
    yield f"{run} is in the background: `dlimg logs -f {run}` follows, `dlimg stop {run}` ends it"


def detached_text(record: RunRecord) -> str:
    """Return the message after Ctrl-C in a command that only follows a run."""
    return f"detached: {record.run} goes on (`dlimg stop {record.run}` ends it)"


def end_lines(record: RunRecord, output: tuple[int, int]) -> Iterator[str]:
    """Yield how a run ended and where its output is, which has some files and bytes."""
    took = f" after {seconds_text(duration(record))}" if record.finished else ""
    code = "it runs on" if record.exit_code is None else f"ended with {record.exit_code}{took}"
    files, size = output
    where = f"; output: {counted(files, 'file')}, {bytes_text(size)} in {record.output}"
    yield f"{record.run}: {code}{where if files else ''}"
    for remark in record.remarks:
        yield f"{record.run}: {remark}"


def outside_lines(record: RunRecord, paths: Sequence[str]) -> Iterator[str]:
    """Yield the files that a run wrote in its container, and the line that fetches them."""
    if not paths:
        return
    yield f"written in the container outside of /output, and gone after `dlimg rm {record.run}`:"
    for path in paths[:_MOST_FILES]:
        yield f"  {path}"
    if len(paths) > _MOST_FILES:
        yield f"  and {len(paths) - _MOST_FILES} more"
    path = shlex.quote(paths[0])
    yield f"to fetch: `dlimg output {record.run} --path {path} --to DIR`"


def duration(record: RunRecord) -> float:
    """Return the seconds from start to end; 0 for a run without both."""
    if not (record.started and record.finished):
        return 0.0
    begin, end = map(datetime.fromisoformat, (record.started, record.finished))
    return (end - begin).total_seconds()


def local_time(text: str) -> str:
    """Return a time of a record to the minute, in this machine's time zone."""
    return f"{datetime.fromisoformat(f'{text}+00:00').astimezone():%Y-%m-%d %H:%M}" if text else ""


def status_row(status: RunStatus) -> tuple[str, ...]:
    record = status.record
    return (
        str(record.run),
        record.origin,
        status.state,
        "" if record.exit_code is None else str(record.exit_code),
        local_time(record.started or record.created),
        seconds_text(duration(record)) if record.finished else "",
        status.holds or record.gpu.replace(f"{NVIDIA_CDI}=", ""),
        _cut(record.image.rpartition("/")[2], _MOST_IMAGE),
        _cut(shlex.join(record.command), _MOST_COMMAND),
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _utc(text: str) -> str | None:
    """Return a time of a record with its zone; None for one that is not yet."""
    return f"{text}Z" if text else None


def status_json(status: RunStatus) -> Mapping[str, Any]:
    record = status.record
    return {
        "run": str(record.run),
        "from": record.origin or None,
        "host": record.host,
        "state": status.state,
        "exit_code": record.exit_code,
        "created": _utc(record.created),
        "started": _utc(record.started),
        "finished": _utc(record.finished),
        "command": list(record.command),
        "image": record.image,
        "digest": record.digest,
        "gpu": record.gpu or None,
        "queue": record.queue,
        "holds_gpu": status.holds or None,
        "mode": record.mode,
        "folder": record.folder,
        "output": record.output,
        "code": str(record.code),
        "data": {data.name: data.source for data in record.data},
        "container": record.container,
        "ports": {str(port): host for port, host in status.ports.items()},
        "remarks": list(record.remarks),
    }
