"""Runs by their names, and their engines: here, or on a machine that ssh reaches."""

import getpass
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import docker

from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.engine.discover import PrivateEnginePolicy
from dlimg.engine.ssh_engine import engine_over_ssh
from dlimg.errors import BadInput, Negative
from dlimg.host.ssh import SCHEME, open_ssh
from dlimg.run.container import parse_state
from dlimg.run.lifecycle import engine_for_runs, is_at, running_engine, status_in
from dlimg.run.model import OUTPUT, RUN_LABEL, Mode, RunName, RunRecord, RunStatus
from dlimg.run.names import container_name, name_from, parse_run
from dlimg.run.record import find_record, last_of, read_records

BASE_LABEL: Final = f"{RUN_LABEL}.base"
FROM_LABEL: Final = f"{RUN_LABEL}.from"
# A path that rsync takes as it is.
_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9._/+-]+")


def remote_engine(destination: str, context: Context) -> Engine:
    """Return the engine of a machine. Raises NetworkFailure or NoEngine with what to do."""
    return engine_over_ssh(open_ssh(destination, context), context)


def engine_at(destination: str, policy: PrivateEnginePolicy, context: Context) -> Engine:
    """Return the engine of a machine, or without a destination the one here."""
    return remote_engine(destination, context) if destination else engine_for_runs(policy, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinder:
    """Finds runs and their engines; `on` is the machine that the user names, or empty.

    Each machine is connected to once.
    """

    context: Context
    on: str = ""
    engines: dict[str, Engine] = field(default_factory=dict)

    def engine(self, host: str) -> Engine:
        """Return the engine at the address that a record has."""
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
        return self.engine(f"{SCHEME}{self.on}" if self.on else "")

    def find(self, text: str) -> tuple[RunRecord, Engine]:
        """Return a run and its engine. Raises BadInput for a run that is not known."""
        if not self.on:
            local = find_record(text, self.context)
            return local, self.engine(local.host)
        engine = self.named_engine()
        own = [record for record in read_records(self.context) if record.host == engine.host]
        record = last_of(text, own)
        if record:
            return record, engine
        others = [status.record for status in other_runs(engine, self.context)]
        record = last_of(text, others)
        if record:
            return record, engine
        names = ", ".join(str(record.run) for record in (*own, *others)) or "none"
        raise BadInput(f"{engine.host} has no run {text!r}", where="--on", hint=f"it has: {names}")


def this_origin() -> str:
    """Return the user and machine that start runs here, as `origin` of their records."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number that no user of this machine has
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def refuse_of_others(record: RunRecord, command: str) -> None:
    """Raise Negative for a run that another user has started, and may still need."""
    user, is_known, _ = record.origin.partition("@")
    if not is_known or user == this_origin().partition("@")[0]:
        return
    machine = record.host.removeprefix(SCHEME)
    container = container_name(record.run) or record.container[:12]
    hint = f"ask them; `ssh {machine} docker {command} {container}` does it without dlimg"
    message = f"`dlimg {command}` leaves {record.run} to {record.origin}, who began it"
    raise Negative(message, hint=hint)


def other_runs(engine: Engine, context: Context) -> Iterator[RunStatus]:
    """Yield the runs of an engine without a record on this machine, from their labels."""
    api: Any = engine.sdk.api
    own = {record.container for record in read_records(context) if is_at(record, engine)}
    for row in api.containers(all=True, filters={"label": RUN_LABEL}):
        if row["Id"] in own:
            continue
        try:
            attributes = api.inspect_container(row["Id"])
        except docker.errors.NotFound:  # removed meanwhile
            continue
        run = parse_run(attributes["Config"]["Labels"][RUN_LABEL])
        if run:
            record = _from_labels(run, attributes, engine.host)
            yield status_in(parse_state(attributes), record, engine, context)


def _from_labels(run: RunName, row: Mapping[str, Any], host: str) -> RunRecord:
    labels = {
        name.removeprefix(f"{RUN_LABEL}."): text for name, text in row["Config"]["Labels"].items()
    }
    image, _, digest = labels.get("image", "").partition("@")
    modes: Mapping[str, Mode] = {"jupyter": "jupyter", "ssh": "ssh", "both": "both"}
    folder = name_from(f"{run.name}-{run.number}-{host.removeprefix(SCHEME)}")
    return RunRecord(
        run=run,
        container=row["Id"],
        host=host,
        image=image,
        digest=digest,
        command=tuple(shlex.split(labels.get("command", ""))),
        folder="",
        output=str(Path.cwd() / "output" / folder),
        mode=modes.get(labels.get("mode", ""), "command"),
        gpu=labels.get("gpu", ""),
        secrets=tuple(labels.get("secrets", "").split()),
        queue="queue" in labels,
        created=labels.get("created", ""),
        base=_base_of(run, row),
        terminal=bool(row["Config"].get("Tty")),
        origin=labels.get("from", "") or "another machine",
    )


def _base_of(run: RunName, row: Mapping[str, Any]) -> str:
    """Return the folder of a run's files on its machine; empty for an output at another place."""
    mounts = {mount["Destination"]: str(mount.get("Source", "")) for mount in row["Mounts"]}
    output = PurePosixPath(mounts.get(OUTPUT, ""))
    is_usual = output.parts[-2:] == ("output", str(run.number))
    return str(output.parents[1]) if is_usual and _PLAIN_PATH.fullmatch(str(output)) else ""
