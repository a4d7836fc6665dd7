"""The environment's addresses, certificates and credentials as files a build may read.

They are mounted while a step runs and never reach a layer: the Dockerfiles name them by id.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dlimg.errors import BadInput
from dlimg.host.interrupt import interruptible
from dlimg.pypi.mirrors import Mirrors, certificates_variable, mirrors

# BuildKit takes no secret of more than this.
MOST_BYTES: Final = 500 * 1024

_ARGUMENTS: Final = (
    "UV_PYTHON_INSTALL_MIRROR",
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What a build may use and an image must not keep: files by secret id, build arguments."""

    files: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def secrets_from(environment: Mapping[str, str]) -> Iterator[Secrets]:
    """Secret files in a folder that only this user can read, and that is gone afterwards.

    `ca`, `uv.toml`, `pip.conf`, `netrc` and `apt.conf`, each only where the environment asks
    for it. Raises `BadInput` when a variable names a file that is not there.
    """
    with interruptible():
        folder = Path(tempfile.mkdtemp(prefix="dlimg-secrets-"))
        try:
            files = _write_all(folder, environment)
            yield Secrets(files=files, arguments=build_arguments(environment))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def build_arguments(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that go into a build as arguments, where they are set.

    The proxies are predefined in every Dockerfile and kept out of the history; the mirror for
    Pythons is declared in a stage that is thrown away.
    """
    return {name: environment[name] for name in _ARGUMENTS if environment.get(name)}


def uv_toml(found: Mirrors) -> str:
    """The indexes as uv's configuration; an empty text where none is set."""
    tables = [_table(name, url) for name, url in found.extra]
    if found.default:
        tables.append(_table("", found.default) + "default = true\n")
    if not tables:
        return ""
    # Every wheel is held to its sha256, so it does not matter which index has it.
    return "\n".join(['index-strategy = "unsafe-best-match"\n', *tables])


def pip_conf(found: Mirrors) -> str:
    """The indexes as pip's configuration; an empty text where none is set."""
    lines = [f"index-url = {found.default}"] if found.default else []
    if found.extra:
        lines += ["extra-index-url =", *(f"    {url}" for _, url in found.extra)]
    # A per cent sign starts a reference in pip's files.
    text = "\n".join(lines).replace("%", "%%")
    return f"[global]\n{text}\n" if lines else ""


def _write_all(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    found = mirrors(environment)
    contents = {
        "ca": _read(environment, certificates_variable(environment)),
        "uv.toml": uv_toml(found).encode(),
        "pip.conf": pip_conf(found).encode(),
        "netrc": _netrc(environment),
        "apt.conf": _read(environment, "DLIMG_APT_CONF"),
    }
    return {name: _write(folder / name, data) for name, data in contents.items() if data}


def _write(path: Path, data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise BadInput(
            f"the secret {path.name} has {len(data)} bytes, a build takes {MOST_BYTES}",
            hint="name a smaller file; a CA bundle needs only the authorities that are used",
        )
    path.touch(mode=0o600)
    path.write_bytes(data)
    return str(path)


def _netrc(environment: Mapping[str, str]) -> bytes:
    if environment.get("NETRC"):
        return _read(environment, "NETRC")
    path = Path(environment.get("HOME", "/nonexistent")) / ".netrc"
    return path.read_bytes() if path.is_file() else b""


def _read(environment: Mapping[str, str], variable: str) -> bytes:
    name = environment.get(variable, "")
    if not name:
        return b""
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise BadInput(
            f"{name} cannot be read: {error.strerror}",
            where=variable,
            hint=f"set {variable} to a file that is there, or unset it",
        ) from error


def _table(name: str, url: str) -> str:
    named = f"name = {json.dumps(name)}\n" if name else ""
    return f"[[index]]\n{named}url = {json.dumps(url)}\n"
