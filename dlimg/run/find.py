"""A run by its name, and the engine that has it: here, or on a machine that ssh reaches."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.engine.ssh_engine import engine_over_ssh
from dlimg.errors import BadInput
from dlimg.host.ssh import SCHEME, check_destination, open_ssh
from dlimg.run.lifecycle import running_engine
from dlimg.run.model import RUN_LABEL, RunName, RunRecord
from dlimg.run.names import parse_run
from dlimg.run.record import find_record, read_records, write_record

BASE_LABEL: Final = f"{RUN_LABEL}.base"


def remote_engine(destination: str, context: Context) -> Engine:
    """Return the engine of a machine. Raises NetworkFailure or NoEngine with what to do."""
    return engine_over_ssh(open_ssh(destination, context), context)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinder:
    """Finds runs and their engines; `on` is the machine that the user names, or empty.

    A machine is connected to once.
    """

    context: Context
    on: str = ""
    engines: dict[str, Engine] = field(default_factory=dict)

    def engine(self, host: str) -> Engine:
        """Return the engine at this address of a record."""
        key = host if host.startswith(SCHEME) else ""
        if key not in self.engines:
            self.engines[key] = (
                remote_engine(key.removeprefix(SCHEME), self.context)
                if key
                else running_engine(self.context)
            )
        return self.engines[key]

    def named_engine(self) -> Engine:
        """Return the engine of the machine that the user names, or else this one's."""
        if self.on:
            check_destination(self.on)
        return self.engine(f"{SCHEME}{self.on}" if self.on else "")

    def find(self, text: str) -> tuple[RunRecord, Engine]:
        """Return a run and its engine. Raises BadInput for a run that is not known."""
        if not self.on:
            record = find_record(text, self.context)
            return record, self.engine(record.host)
        engine = self.named_engine()
        run = parse_run(text)
        known = [r for r in read_records(self.context) if r.host == engine.host]
        matching = [r for r in known if (r.run == run if run else r.run.name == text)]
        if matching:
            return max(matching, key=lambda record: record.run.number), engine
        record = _adopted(run, text, engine)
        write_record(record, self.context)
        return record, engine


def _adopted(run: RunName | None, text: str, engine: Engine) -> RunRecord:
    """Return the record of a run that another machine has started, from its labels."""
    api: Any = engine.sdk.api
    rows = api.containers(all=True, filters={"label": f"{RUN_LABEL}={run}" if run else RUN_LABEL})
    attributes = [api.inspect_container(row["Id"]) for row in rows]
    labelled = [(parse_run(row["Config"]["Labels"][RUN_LABEL]), row) for row in attributes]
    matching = [
        (name, row) for name, row in labelled if name and (name == run or name.name == text)
    ]
    if not matching:
        names = ", ".join(str(name) for name, _ in labelled if name) or "none"
        raise BadInput(f"{engine.host} has no run {text!r}", where="--on", hint=f"it has: {names}")
    name, row = max(matching, key=lambda pair: pair[0].number)
    return _from_labels(name, row, engine.host)


def _from_labels(run: RunName, row: Mapping[str, Any], host: str) -> RunRecord:
    labels: Mapping[str, str] = row["Config"]["Labels"]
    image, _, digest = labels.get(f"{RUN_LABEL}.image", "").partition("@")
    return RunRecord(
        run=run,
        container=row["Id"],
        host=host,
        image=image,
        digest=digest,
        command=tuple(shlex.split(labels.get(f"{RUN_LABEL}.command", ""))),
        folder="",
        output=str(Path.cwd() / "output" / str(run.number)),
        created=labels.get(f"{RUN_LABEL}.created", ""),
        base=labels.get(BASE_LABEL, ""),
        terminal=bool(row["Config"].get("Tty")),
    )
