"""Where the user says that a container engine answers: DOCKER_HOST or a docker context.

The environment comes in; an address comes out, and the environment that leads child
processes and the SDK there. Only the user's docker settings are read.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlimg.errors import BadInput

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_MEND: Final = "docker keeps its settings here; mend the file, or move it away"
_LEADING: Final = frozenset(
    {"DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """Where an engine should answer, who said so, and the environment that leads there."""

    host: str
    named_by: str
    environment: Mapping[str, str]


def default_address(environment: Mapping[str, str]) -> EngineAddress:
    """Where an engine answers on a machine on which nobody has said anything."""
    return _address(DEFAULT_HOST, "the usual socket", environment)


def named_address(environment: Mapping[str, str]) -> EngineAddress | None:
    """The engine that the user has named; `BadInput` when the context is not there."""
    host = environment.get("DOCKER_HOST", "")
    if host:
        return EngineAddress(host=host, named_by="DOCKER_HOST", environment=environment)
    settings = docker_config_folder(environment) / "config.json"
    chosen = environment.get("DOCKER_CONTEXT", "")
    name = chosen or str(read_settings(settings).get("currentContext") or "")
    if name in {"", "default"}:
        return None
    where = "DOCKER_CONTEXT" if chosen else str(settings)
    return _of_context(name, environment, where=where)


def docker_config_folder(environment: Mapping[str, str]) -> Path:
    """Where the user's own docker settings lie."""
    home = Path(environment.get("HOME") or "/")
    return Path(environment.get("DOCKER_CONFIG") or home / ".docker")


def read_settings(file: Path) -> Mapping[str, Any]:
    """The object in one of docker's settings files; nothing when it is empty or not there.

    Raises `BadInput` for a file that holds something else.
    """
    try:
        text = file.read_text(encoding="utf-8")
        # Docker itself takes an empty file for one without settings.
        found = json.loads(text) if text.strip() else {}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not JSON: {error}", where=str(file), hint=_MEND) from error
    if not isinstance(found, dict):
        raise BadInput("not a JSON object", where=str(file), hint=_MEND)
    return found


def _of_context(name: str, environment: Mapping[str, str], *, where: str) -> EngineAddress:
    # The store of the docker command: folders named by the digest of the context's name.
    store = docker_config_folder(environment) / "contexts"
    folder = hashlib.sha256(name.encode()).hexdigest()
    endpoint: Any = read_settings(store / "meta" / folder / "meta.json")
    for part in ("Endpoints", "docker"):
        endpoint = endpoint.get(part) if isinstance(endpoint, dict) else None
    if not isinstance(endpoint, dict) or not isinstance(endpoint.get("Host"), str):
        raise BadInput(
            f"there is no docker context {name!r}",
            where=where,
            hint="`docker context ls` shows those that there are",
        )
    named_by = f"the docker context {name!r}"
    certificates = store / "tls" / folder / "docker"
    if not certificates.is_dir():
        return _address(endpoint["Host"], named_by, environment)
    tls = "DOCKER_TLS" if endpoint.get("SkipTLSVerify") else "DOCKER_TLS_VERIFY"
    leading = {tls: "1", "DOCKER_CERT_PATH": str(certificates)}
    return _address(endpoint["Host"], named_by, environment, leading)


def _address(
    host: str,
    named_by: str,
    environment: Mapping[str, str],
    leading: Mapping[str, str] | None = None,
) -> EngineAddress:
    kept = {name: value for name, value in environment.items() if name not in _LEADING}
    return EngineAddress(
        host=host,
        named_by=named_by,
        environment={**kept, "DOCKER_HOST": host, **(leading or {})},
    )
