"""Stored data: one volume of the engine for each name, filled once and mounted read-only."""

import contextlib
import hashlib
import os
import tarfile
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import docker

from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import BadInput, Negative, nearest
from dlimg.run.code_state import files_and_bytes
from dlimg.run.model import DATA
from dlimg.run.record import read_records

LABEL: Final = "io.dlimg.data"
_EMPTY_IMAGE: Final = "dlimg-empty:1"
_READABLE: Final = 0o444
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredData:
    """Data in a volume: its source, size, number of files and day."""

    name: str
    volume: str
    source: str
    size: int
    files: int
    created: str


def stored_data(engine: Engine) -> tuple[StoredData, ...]:
    """Return all stored data, by name."""
    api: Any = engine.sdk.api
    rows = api.volumes(filters={"label": LABEL})["Volumes"] or ()
    return tuple(sorted(map(_parse, rows), key=lambda data: data.name))


def _parse(row: Mapping[str, Any]) -> StoredData:
    labels = row["Labels"]
    return StoredData(
        name=labels[LABEL],
        volume=row["Name"],
        source=labels.get(f"{LABEL}.source", ""),
        size=int(labels.get(f"{LABEL}.size", 0)),
        files=int(labels.get(f"{LABEL}.files", 0)),
        created=labels.get(f"{LABEL}.created", ""),
    )


def find_data(name: str, engine: Engine) -> StoredData | None:
    return next((data for data in stored_data(engine) if data.name == name), None)


def store(name: str, source: str, path: Path, engine: Engine) -> StoredData:
    """Copy a folder or file into a new volume. Raises Negative if the engine does not take it."""
    api: Any = engine.sdk.api

    def put(container: str) -> None:
        with contextlib.closing(packed(path)) as blocks:
            api.put_archive(container, DATA, blocks)

    return store_by(put, name, source, files_and_bytes(path), engine)


def store_by(
    put: Callable[[str], None], name: str, source: str, amount: tuple[int, int], engine: Engine
) -> StoredData:
    """Make a volume, which `put` fills through a container; `amount` is its files and bytes."""
    files, size = amount
    labels = {
        LABEL: name,
        f"{LABEL}.source": source,
        f"{LABEL}.size": str(size),
        f"{LABEL}.files": str(files),
        f"{LABEL}.created": datetime.now(tz=UTC).date().isoformat(),
    }
    volume = f"dlimg-data-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    api: Any = engine.sdk.api
    api.create_volume(volume, labels=labels)
    try:
        _fill(volume, put, engine)
    except BaseException as error:
        api.remove_volume(volume, force=True)
        if isinstance(error, docker.errors.APIError):
            reason = str(error.explanation or error)
            raise Negative(f"the engine does not take the data: {reason}") from error
        raise
    return _parse({"Name": volume, "Labels": labels})


def _fill(volume: str, put: Callable[[str], None], engine: Engine) -> None:
    """Send the files to the volume through a container that is never started."""
    api: Any = engine.sdk.api
    try:
        api.inspect_image(_EMPTY_IMAGE)
    except docker.errors.NotFound:
        repository, _, tag = _EMPTY_IMAGE.partition(":")
        api.import_image_from_data(b"\0" * 1024, repository=repository, tag=tag)
    mount = docker.types.Mount(DATA, volume, type="volume")
    host_config = api.create_host_config(mounts=[mount])
    created = api.create_container(image=_EMPTY_IMAGE, command=["none"], host_config=host_config)
    container = created["Id"]
    try:
        put(container)
    finally:
        api.remove_container(container, force=True)


def packed(path: Path) -> Generator[bytes, None, None]:
    """Yield a tar of a folder's content, or of one file, that anybody may read."""
    reader, writer = os.pipe()
    errors: list[OSError] = []
    thread = threading.Thread(target=_pack, args=(path, writer, errors), daemon=True)
    thread.start()
    with open(reader, "rb") as blocks:  # noqa: PTH123 - a descriptor
        while block := blocks.read(_BLOCK):
            yield block
    thread.join()
    for error in errors:  # without it the volume would lack a file, and nobody would know
        message = f"the data cannot be read: {error.strerror}"
        raise BadInput(message, where=str(error.filename), hint="see its owner and mode")


def _pack(path: Path, writer: int, errors: list[OSError]) -> None:
    try:
        with (
            open(writer, "wb") as pipe,
            tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            entries = sorted(path.iterdir()) if path.is_dir() else [path]
            for entry in entries:
                tar.add(entry, arcname=entry.name, filter=_readable)
    except BrokenPipeError:  # a reader that ends early, and there is nobody to tell
        return
    except OSError as error:
        errors.append(error)


def _readable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode |= _READABLE | (0o111 if entry.isdir() else 0)
    return entry


def used_by(data: StoredData, engine: Engine, context: Context) -> tuple[str, ...]:
    """Return the runs whose containers mount the data; short ids for those of other users."""
    api: Any = engine.sdk.api
    containers = {row["Id"] for row in api.containers(all=True, filters={"volume": data.volume})}
    runs = {record.container: str(record.run) for record in read_records(context)}
    return tuple(sorted(runs.get(container, container[:12]) for container in containers))


def remove(name: str, engine: Engine, context: Context, *, on: str = "") -> None:
    """Remove stored data. Raises BadInput for an unknown name, Negative if a run uses the data.

    `on` is the option for the engine's machine, for the remedy.
    """
    data = find_data(name, engine)
    if data is None:
        hint = nearest(name, {stored.name for stored in stored_data(engine)})
        raise BadInput(f"there is no stored data {name!r}", hint=hint)
    runs = used_by(data, engine, context)
    if runs:
        hint = f"`dlimg rm{on} {' '.join(runs)}` first"
        raise Negative(f"{name} is used by {', '.join(runs)}", hint=hint)
    engine.sdk.api.remove_volume(data.volume)
