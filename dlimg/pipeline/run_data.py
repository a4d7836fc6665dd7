"""Stored data of runs: from this machine, or fetched by the machine of the engine."""

import hashlib
import shlex
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import BadInput, Negative, NetworkFailure
from dlimg.host.file_lock import file_lock
from dlimg.run.data_fetch import fetch
from dlimg.run.data_fetch_remote import fetch_on, missing_program, store_on
from dlimg.run.data_source import DataSource, parse_source
from dlimg.run.data_volume import StoredData, find_data, store
from dlimg.units import bytes_text, counted


def on_option(engine: Engine) -> str:
    """Return the option for the engine's machine, as it is written in a command."""
    return f" --on {shlex.quote(engine.ssh.destination)}" if engine.ssh else ""


def add_data(name: str, text: str, engine: Engine, context: Context) -> None:
    """Store the data of a source under a name. Raises BadInput, Negative or NetworkFailure."""
    with _only_one(name, context):
        if find_data(name, engine):
            hint = f"`dlimg data rm{on_option(engine)} {name}` first, or take another name"
            raise BadInput(f"there is stored data {name!r} already", hint=hint)
        _add(name, text, engine, context)


def data_of_source(name: str, text: str, engine: Engine, context: Context) -> StoredData:
    """Return the stored data of a source, fetched the first time. Raises BadInput."""
    with _only_one(name, context):
        stored = find_data(name, engine)
        if stored is None:
            return _add(name, text, engine, context)
    if stored.source != text:
        hint = f"take another name, or `dlimg data rm{on_option(engine)} {name}` first"
        raise BadInput(f"the stored data {name} is of {stored.source}", where="--data", hint=hint)
    return stored


def _only_one(name: str, context: Context) -> AbstractContextManager[None]:
    """Return a lock, so that two commands do not fetch the same at once."""
    file = context.cache / "data" / f"{name}.lock"
    return file_lock(file, doing=f"fetching {name}", log=context.log)


def _add(name: str, text: str, engine: Engine, context: Context) -> StoredData:
    source = parse_source(text)
    if source.kind == "path":
        path = Path(source.location)
        if not path.exists():
            raise BadInput(f"there is no folder or file {source.location}")
        data = store(name, str(path.resolve()), path, engine)
    else:
        data = _fetched_there(source, name, text, engine, context) or _fetched_here(
            source, name, text, engine, context
        )
    size = f"{counted(data.files, 'file')}, {bytes_text(data.size)}"
    command = f"dlimg run{on_option(engine)} --data {name}"
    context.log(f"{name}: {size}; `{command}` has it at /data/{name}")
    return data


def _fetched_here(
    source: DataSource, name: str, text: str, engine: Engine, context: Context
) -> StoredData:
    key = hashlib.sha256(text.encode()).hexdigest()[:8]
    folder = context.cache / "data" / f"{name}-{key}"
    fetch(source, name, folder, context)
    data = store(name, text, folder, engine)
    shutil.rmtree(folder)
    return data


def _fetched_there(
    source: DataSource, name: str, text: str, engine: Engine, context: Context
) -> StoredData | None:
    """Return data that another machine has fetched; log why it could not, and return None."""
    host = engine.ssh
    if host is None:
        return None
    missing = missing_program(source, host)
    if missing:
        reason = f"it has no {missing}"
    else:
        try:
            folder = fetch_on(source, name, host, context)
            return store_on(name, text, folder, engine)
        except NetworkFailure as error:
            reason = str(error.problems[0].message)
        except Negative as error:
            if source.kind != "git":  # whose keys may be on this machine alone
                raise
            reason = str(error.problems[0].message)
    context.log(f"{name}: not fetched on {host.destination}: {reason}")
    context.log(f"{name}: fetching it here, and sending it")
    return None
