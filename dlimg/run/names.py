"""Names of runs and data: parsed from what users write, and made from folders. Pure."""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import PurePath
from typing import Final

from dlimg.errors import BadInput
from dlimg.run.model import DataRequest, PortMapping, RunName

# Letters and digits of any script; no separators of paths, shells and references.
NAME: Final = r"\w[\w.-]{0,62}"
VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_NAME: Final = re.compile(NAME)
_VARIABLE: Final = re.compile(VARIABLE)
_RUN: Final = re.compile(rf"(?P<name>{NAME}):(?P<number>[1-9][0-9]{{0,8}})")
_OUTPUT: Final = "/output"
# Prefixes of sources that are fetched, no sources by themselves.
_FETCHED: Final = ("https", "http", "hf", "kaggle", "git")
_LONGEST: Final = 63
_LAST_PORT: Final = 65_535
# Folders at the root of any image: data of such a name is in /data and /input only.
ROOT_FOLDERS: Final = frozenset(
    {"bin", "boot", "code", "data", "dev", "etc", "home", "input", "lib", "lib32", "lib64"}
    | {"libx32", "media", "mnt", "opt", "output", "proc", "root", "run", "sbin", "srv", "sys"}
    | {"tmp", "usr", "var"}
)


def name_from(text: str) -> str:
    """Return the name for runs in a folder; characters that names cannot have become `-`."""
    name = re.sub(r"[^\w.-]+", "-", text).strip("-.")[:_LONGEST]
    return name if _NAME.fullmatch(name) else "run"


def check_name(name: str, where: str) -> None:
    """Raise BadInput for a name with characters that names do not have."""
    if not _NAME.fullmatch(name):
        hint = f"use letters, digits, `.`, `_` and `-`: e.g. {name_from(name)}"
        raise BadInput(f"{name!r} is no name", where=where, hint=hint)


def parse_run(text: str) -> RunName | None:
    """Return the run that `hello:3` names; None for any other text."""
    match = _RUN.fullmatch(text)
    return RunName(name=match["name"], number=int(match["number"])) if match else None


def parse_data(text: str, *, exists: bool) -> DataRequest:
    """Return the data that `SRC[:NAME]` names; `exists` says that the whole text is a path.

    Without NAME it is the last part of the source, or the name of the run.
    """
    source, colon, name = text.rpartition(":")
    is_prefix = source in _FETCHED
    if exists or not colon or is_prefix or "/" in name or "\\" in name or name.isdecimal():
        source, name = text, ""
    if not source or (colon and not text.rpartition(":")[2]):
        raise BadInput(f"{text!r} names no data", where="--data", hint="write SRC or SRC:NAME")
    if name:
        check_name(name, "--data")
        return DataRequest(source=source, name=name)
    run = output_of(source)
    return DataRequest(source=source, name=run.name if run else _last_part(source))


def output_of(source: str) -> RunName | None:
    """Return the run that `RUN/output` names; None for any other source."""
    return parse_run(source.removesuffix(_OUTPUT)) if source.endswith(_OUTPUT) else None


def is_fetched(source: str) -> bool:
    """Return whether data is at an address, and not on this machine."""
    prefix, colon, _ = source.partition(":")
    return bool(colon) and prefix in _FETCHED


def _last_part(source: str) -> str:
    if is_fetched(source):
        path = re.split("[#?]", source.partition(":")[2])[0].rstrip("/")
        source = path.rpartition("/")[2].partition("@")[0]
    return name_from(PurePath(source.rstrip("/")).name)


def refuse_repeats(data: Iterable[DataRequest]) -> None:
    """Raise BadInput for two sources under one name."""
    sources: dict[str, str] = {}
    for request in data:
        other = sources.setdefault(request.name, request.source)
        if other is not request.source:
            message = f"{other} and {request.source} would both be /data/{request.name}"
            raise BadInput(message, where="--data", hint=f"name one: {request.source}:OTHER")


def data_targets(name: str) -> tuple[str, ...]:
    """Return the paths in the container under which data of this name is found."""
    at_root = () if name in ROOT_FOLDERS else (f"/{name}",)
    return (f"/data/{name}", f"/input/{name}", *at_root)


def container_name(run: RunName) -> str:
    """Return the container's name; empty where the run's has characters that engines refuse."""
    return f"dlimg-{run.name}-{run.number}" if run.name.isascii() else ""


_PORT: Final = re.compile(
    r"(?:(?P<address>\d+(?:\.\d+){3}|\[[0-9a-f:]+\]):)?(?:(?P<host>\d+):)?(?P<port>\d+)"
)


def parse_port(text: str) -> PortMapping:
    """Return the port that `8888`, `9000:8888` or `0.0.0.0:9000:8888` means. Raises BadInput."""
    match = _PORT.fullmatch(text)
    numbers = [int(match[part] or 0) for part in ("host", "port")] if match else []
    if match is None or not numbers[1] or max(numbers) > _LAST_PORT:
        hint = "write PORT, HOST:PORT or ADDRESS:HOST:PORT"
        raise BadInput(f"{text!r} is no port", where="--port", hint=hint)
    address = (match["address"] or "127.0.0.1").strip("[]")
    try:
        ip_address(address)  # an engine takes any other text for all addresses
    except ValueError as error:
        raise BadInput(f"{address} is no address", where="--port", hint="e.g. 127.0.0.1") from error
    return PortMapping(container=numbers[1], host=numbers[0], address=address)


def refuse_ambiguous_ports(ports: Iterable[PortMapping]) -> None:
    """Raise BadInput if a port of this machine would lead to two ports of the container."""
    containers: dict[int, int] = {}
    for port in ports:
        other = containers.setdefault(port.host, port.container) if port.host else port.container
        if other != port.container:
            message = f"port {port.host} would lead to both {other} and {port.container}"
            raise BadInput(message, where="--port", hint="name another for one of the two")


def parse_variable(text: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable that `NAME=VALUE` sets, or `NAME` with its value in this shell."""
    name, equals, value = text.partition("=")
    if not _VARIABLE.fullmatch(name):
        hint = "write NAME=VALUE or NAME"
        raise BadInput(f"{text!r} sets no variable", where="--variable", hint=hint)
    if not equals and name not in environment:
        raise BadInput(f"{name} is not set here", where="--variable", hint=f"write {name}=VALUE")
    return name, value if equals else environment[name]
