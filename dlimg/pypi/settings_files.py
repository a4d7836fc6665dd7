"""Package indexes in the configuration files of uv and pip.

Of uv.toml only the indexes count, never what chooses versions; of pip.conf only `index-url`.
"""

import configparser
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlimg.context import Context
from dlimg.errors import BadInput

_NO_FILE: Final = "/dev/null"
_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileIndexes:
    """The default index of a configuration file and its further ones, which may have names.

    `extra` are taken; `named` are those that uv uses only for packages routed to them. `source`
    is the file. `forbids` names the file with pip's `no-index`, which is not heeded.
    """

    default: str = ""
    extra: tuple[tuple[str, str], ...] = ()
    named: tuple[tuple[str, str], ...] = ()
    source: str = ""
    forbids: str = ""


def uv_file_indexes(context: Context) -> FileIndexes:
    """Return the indexes of uv's configuration: the user's file, then the system's.

    Raises BadInput for a file that is not TOML.
    """
    files = [FileIndexes(), *(_uv_file(path) for path in _uv_paths(context.environment))]
    default = next((file for file in files if file.default), files[0])
    return FileIndexes(
        default=default.default,
        extra=tuple(index for file in files for index in file.extra),
        named=tuple(index for file in files for index in file.named),
        source=default.source,
    )


def pip_file_indexes(context: Context) -> FileIndexes:
    """Return `index-url` and `extra-index-url` of pip's configuration files.

    As in pip, a later file decides: of the system, of the user, of the environment, and the one
    that PIP_CONFIG_FILE names. Raises BadInput for a file that pip cannot read either.
    """
    default = extra = source = forbids = ""
    for path in _pip_paths(context.environment):
        values = _pip_values(path)
        default = values.get("index-url", default)
        if "extra-index-url" in values:
            extra, source = values["extra-index-url"], str(path)
        if "no-index" in values:
            forbids = str(path) if values["no-index"].lower() in _TRUE else ""
    return FileIndexes(
        default=default,
        extra=tuple(("", url) for url in extra.split()),
        source=source,
        forbids=forbids,
    )


def _uv_paths(variables: Mapping[str, str]) -> Iterator[Path]:
    if variables.get("UV_NO_CONFIG", "").lower() in _TRUE:
        return
    if variables.get("UV_CONFIG_FILE"):
        yield Path(variables["UV_CONFIG_FILE"])
        return
    yield from (folder / "uv/uv.toml" for folder in _user_folders(variables))
    if variables.get("HOME") and variables.get("UV_NO_SYSTEM_CONFIG", "").lower() not in _TRUE:
        yield from (folder / "uv/uv.toml" for folder in _system_folders(variables))
        yield Path("/etc/uv/uv.toml")


def _pip_paths(variables: Mapping[str, str]) -> Iterator[Path]:
    named = variables.get("PIP_CONFIG_FILE", "")
    if named == _NO_FILE:
        return
    if variables.get("HOME"):  # a context without a user has no files
        yield from (folder / "pip/pip.conf" for folder in _system_folders(variables))
        yield Path("/etc/pip.conf")
        yield Path(variables["HOME"], ".pip/pip.conf")
        yield from (folder / "pip/pip.conf" for folder in _user_folders(variables))
        yield Path(sys.prefix, "pip.conf")
    if named:
        yield Path(named)


def _user_folders(variables: Mapping[str, str]) -> Iterator[Path]:
    if variables.get("XDG_CONFIG_HOME"):
        yield Path(variables["XDG_CONFIG_HOME"])
    elif variables.get("HOME"):
        yield Path(variables["HOME"], ".config")


def _system_folders(variables: Mapping[str, str]) -> Iterator[Path]:
    for name in (variables.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield Path(name)


def _uv_file(path: Path) -> FileIndexes:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return FileIndexes()
    except (OSError, ValueError) as error:
        message = f"uv's configuration cannot be read: {error}"
        raise BadInput(message, where=str(path), hint="correct it, or set UV_NO_CONFIG=1") from None
    table = values.get("pip")
    tables = [values, table] if isinstance(table, dict) else [values]
    entries = [entry for each in tables for entry in _tables(each.get("index"))]
    extra = [("", url) for each in tables for url in _texts(each.get("extra-index-url"))]
    default = next((url for each in reversed(tables) for url in _texts(each.get("index-url"))), "")
    named: list[tuple[str, str]] = []
    for entry in entries:
        index = (str(entry.get("name", "")), str(entry.get("url", "")))
        if entry.get("default") is True:
            default = index[1]
        elif entry.get("explicit") is True:
            named.append(index)
        else:
            extra.append(index)
    return FileIndexes(default=default, extra=tuple(extra), named=tuple(named), source=str(path))


def _tables(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, str)]


def _pip_values(path: Path) -> dict[str, str]:
    """Return the values of pip's sections `global` and `install`, as pip reads them."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (OSError, ValueError, configparser.Error) as error:
        message = f"pip's configuration cannot be read: {' '.join(str(error).split())}"
        hint = f"correct it, or set PIP_CONFIG_FILE={_NO_FILE}"
        raise BadInput(message, where=str(path), hint=hint) from None
    sections = ("global", "install")
    return {
        name.replace("_", "-"): value
        for section in sections
        if parser.has_section(section)
        for name, value in parser.items(section)
    }
