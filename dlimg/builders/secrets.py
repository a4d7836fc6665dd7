"""Addresses, certificates and credentials of the environment, as secret files of a build.

Dockerfiles name them by id. They are mounted while a step runs and never become part of a layer.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.host.interrupt import interruptible
from dlimg.host.secret_folder import secret_folder
from dlimg.pypi.mirrors import (
    Mirrors,
    certificates_variable,
    index_address,
    mirrors,
    with_login,
)

# The size of the largest secret that BuildKit accepts.
MAX_BYTES: Final = 500 * 1024

_ARGUMENTS: Final = (
    "UV_PYTHON_INSTALL_MIRROR",
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Files by secret id, and build arguments; a build uses them, the image does not keep them."""

    files: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def secrets_from(context: Context) -> Iterator[Secrets]:
    """Write secret files into a folder that only this user can read; it is in memory if possible.

    These are `ca`, `uv.toml`, `pip.conf`, `netrc` and `apt.conf`, and `index.NAME` for an index of
    the matrix with a mirror or a login, each only when the environment has a setting for it.
    Raises `BadInput` when a variable names a missing file.
    """
    with interruptible(), secret_folder() as folder:
        yield Secrets(files=_write_all(folder, context), arguments=build_arguments(context))


def build_arguments(context: Context) -> dict[str, str]:
    """Return the set variables that are build arguments.

    Proxies are predefined arguments, which no history records; the mirror for Pythons is an
    argument of a stage that is not part of the image.
    """
    return {name: context.environment[name] for name in _ARGUMENTS if context.environment.get(name)}


def uv_toml(indexes: Mirrors, context: Context) -> str:
    """Return the indexes as uv's configuration, with their logins; empty when none is set."""
    tables = [_table(name, with_login(name, url, context)) for name, url in indexes.extra]
    if indexes.default:
        tables.append(_table("", indexes.default) + "default = true\n")
    if not tables:
        return ""
    # Safe, because every wheel is checked against its sha256.
    return "\n".join(['index-strategy = "unsafe-best-match"\n', *tables])


def pip_conf(indexes: Mirrors) -> str:
    """Return the indexes as pip's configuration; empty when none is set."""
    lines = [f"index-url = {indexes.default}"] if indexes.default else []
    if indexes.extra:
        lines += ["extra-index-url =", *(f"    {url}" for _, url in indexes.extra)]
    text = "\n".join(lines)
    return f"[global]\n{text}\n" if lines else ""


def named_index_tomls(context: Context) -> dict[str, str]:
    """Return uv's configuration with one index of the matrix, for each with a mirror or a login."""
    texts = {}
    for name, url in context.indexes.items():
        address = with_login(name, index_address(name, context), context)
        if address != url:
            texts[f"index.{name}"] = _table(name, address) + "default = true\n"
    return texts


def _write_all(folder: Path, context: Context) -> dict[str, str]:
    indexes = mirrors(context)
    contents = {
        "ca": _read(context, certificates_variable(context)),
        "uv.toml": uv_toml(indexes, context).encode(),
        "pip.conf": pip_conf(indexes).encode(),
        "netrc": _netrc(context),
        "apt.conf": _read(context, "DLIMG_APT_CONF"),
        **{name: text.encode() for name, text in named_index_tomls(context).items()},
    }
    return {name: _write(folder / name, data) for name, data in contents.items() if data}


def _write(path: Path, data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise BadInput(
            f"the secret {path.name} has {len(data)} bytes, more than the limit of {MAX_BYTES}",
            hint="use a smaller file; a CA bundle needs only the authorities in use",
        )
    path.touch(mode=0o600)
    path.write_bytes(data)
    return str(path)


def _netrc(context: Context) -> bytes:
    if context.environment.get("NETRC"):
        return _read(context, "NETRC")
    path = Path(context.environment.get("HOME", "/nonexistent")) / ".netrc"
    return path.read_bytes() if path.is_file() else b""


def _read(context: Context, variable: str) -> bytes:
    name = context.environment.get(variable, "")
    if not name:
        return b""
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise BadInput(
            f"{name} cannot be read: {error.strerror}",
            where=variable,
            hint=f"set {variable} to an existing file, or unset it",
        ) from error


def _table(name: str, url: str) -> str:
    name_line = f"name = {json.dumps(name)}\n" if name else ""
    return f"[[index]]\n{name_line}url = {json.dumps(url)}\n"
