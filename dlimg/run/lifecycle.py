"""States of runs after their start, how they ended, and files that they left."""

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from dlimg.context import Context, no_log
from dlimg.engine.client import Engine
from dlimg.engine.discover import PrivateEnginePolicy, find_engine
from dlimg.errors import NoEngine
from dlimg.host.ssh import SCHEME
from dlimg.run.code_state import fingerprint
from dlimg.run.container import ContainerState, container_state
from dlimg.run.gpu_queue import held_gpu, holders
from dlimg.run.model import RUN_LABEL, RunRecord, RunState, RunStatus
from dlimg.run.record import read_records, write_record

_FULL_BYTES: Final = 16 * 2**20
_ADDED_OR_CHANGED: Final = (0, 1)
# Files that the engine, the entry point and caches write into any container: no results.
_NO_RESULTS: Final = re.compile(
    r"/(dev|proc|sys|run|data|input)(/|$)"
    r"|/(usr/)?sbin/docker-init$|/etc/(hosts|hostname|resolv\.conf|mtab)$"
    r"|(/tmp/home-\d+|/home/\w+|/root)"
    r"(/env(/|$)|/\.(cache|config|ipython|jupyter|keras|nv|local|ssh|triton)(/|$)|$)"
    r"|.*/__pycache__(/|$)|.*\.pyc$|/tmp/(torchinductor_|tmp|\.|pip-|dlimg-|matplotlib-)"
    r"|/var/(cache|lib/apt|log)(/|$)"
)
# Where a container with a GPU gets the driver's files: each leaves an empty one behind.
_DRIVER_FOLDERS: Final = re.compile(r"/(usr/(bin|lib|lib64|share)|bin|lib|lib64|etc)/")


def running_engine(context: Context) -> Engine:
    """Return the engine that runs already; log nothing about which one it is."""
    engine = find_engine(replace(context, log=no_log), private="join")
    return replace(engine, context=replace(engine.context, log=context.log))


def engine_for_runs(policy: PrivateEnginePolicy, context: Context) -> Engine:
    """Return the engine that runs already, or one that is started now."""
    try:
        return running_engine(context)
    except NoEngine:
        return find_engine(context, private=policy)


def record_end(record: RunRecord, state: ContainerState, context: Context) -> RunRecord:
    """Return the record with the end of its run; write it if that is new and a record of ours."""
    if record.exit_code is not None or state.exit_code is None:
        return record
    complete = replace(
        record,
        started=state.started,
        finished=state.finished,
        exit_code=state.exit_code,
        remarks=tuple(_remarks(record, state)),
    )
    if not record.origin:
        write_record(complete, context)
    return complete


def _remarks(record: RunRecord, state: ContainerState) -> Iterable[str]:
    if state.out_of_memory:
        yield "the kernel killed one of its processes: out of memory"
    if record.origin:
        return
    output = Path(record.output)
    try:
        free = shutil.disk_usage(output).free
    except OSError:
        yield f"its output folder {output} is gone"
    else:
        if free < _FULL_BYTES:
            yield f"the disk of its output is full: {output}"
    for data in record.data:
        if data.fingerprint and fingerprint(Path(data.source)) != data.fingerprint:
            yield f"data changed during the run: {data.name} ({data.source})"


def statuses(engine: Engine | None, context: Context) -> tuple[RunStatus, ...]:
    """Return all runs of this user with their states, the oldest first.

    The state of runs on other machines than the engine's is known only if they have ended.
    """
    containers = _containers(engine) if engine else {}
    return tuple(_status(record, containers, engine, context) for record in read_records(context))


def _containers(engine: Engine) -> Mapping[str, str]:
    """Return the engine's state of each run's container by id."""
    rows: Any = engine.sdk.api.containers(all=True, filters={"label": RUN_LABEL})
    return {row["Id"]: row["State"] for row in rows}


def _status(
    record: RunRecord, containers: Mapping[str, str], engine: Engine | None, context: Context
) -> RunStatus:
    if not (_is_local(record) or (engine and engine.host == record.host)):
        state: RunState = "unknown" if record.exit_code is None else "ended"
        return RunStatus(record=record, state=state)
    if engine is None or record.container not in containers:
        return RunStatus(record=record, state="gone")
    if record.exit_code is not None and containers[record.container] in {"exited", "dead"}:
        return RunStatus(record=record, state="ended")
    return status_of(record, engine, context)


def status_of(record: RunRecord, engine: Engine, context: Context) -> RunStatus:
    """Return the state of one run, with its end in the record if it has ended."""
    state = container_state(record.container, engine)
    if state is None:
        return RunStatus(record=record, state="gone")
    return status_in(state, record, engine, context)


def status_in(
    state: ContainerState, record: RunRecord, engine: Engine, context: Context
) -> RunStatus:
    """Return the status of a run whose container is in this state."""
    if state.exit_code is not None:
        return RunStatus(record=record_end(record, state, context), state="ended")
    run_state: RunState = "starting" if state.status == "created" else "running"
    holds = held_gpu(record.container, holders(engine, context)) if record.queue else ""
    if record.queue and not holds and run_state == "running":
        run_state = "waiting"
    return RunStatus(record=record, state=run_state, ports=state.ports or {}, holds=holds)


def statuses_at(engine: Engine, name: str = "") -> tuple[RunStatus, ...]:
    """Return the runs on this engine's machine, or only those with this name."""
    return tuple(
        status
        for status in statuses(engine, engine.context)
        if name in ("", status.record.run.name) and is_at(status.record, engine)
    )


def is_at(record: RunRecord, engine: Engine) -> bool:
    """Return whether a run is on this engine's machine."""
    return record.host == engine.host or (_is_local(record) and engine.ssh is None)


def _is_local(record: RunRecord) -> bool:
    return not record.host.startswith(SCHEME)


def files_outside(record: RunRecord, engine: Engine) -> tuple[str, ...]:
    """Return the paths that the run wrote in its container outside of what is mounted."""
    attributes: Any = engine.sdk.api.inspect_container(record.container)
    mounted = [str(mount["Destination"]) for mount in attributes.get("Mounts") or ()]
    changes: Any = engine.sdk.api.diff(record.container) or ()
    paths = [row["Path"] for row in changes if row["Kind"] in _ADDED_OR_CHANGED]
    results = results_outside(paths, mounted)
    if not record.gpu:
        return results
    return tuple(path for path in results if not _DRIVER_FOLDERS.match(path))


def results_outside(paths: Sequence[str], mounted: Sequence[str]) -> tuple[str, ...]:
    """Return the changed paths without folders, mounts, caches and the engine's own files."""
    parents = {path.rpartition("/")[0] for path in paths}
    return tuple(
        sorted(
            path
            for path in paths
            if path not in parents
            and not _NO_RESULTS.match(path)
            and not any(path == target or path.startswith(f"{target}/") for target in mounted)
        )
    )
