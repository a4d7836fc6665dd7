"""The address of the user's container engine: DOCKER_HOST or a docker context."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlimg.errors import BadInput

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_REPAIR_HINT: Final = "docker keeps its settings in this file; repair it, or move it away"
_CONNECTION_VARIABLES: Final = frozenset(
    {"DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """An engine's address, the setting that names it, and an environment that leads to it."""

    host: str
    named_by: str
    environment: Mapping[str, str]


def default_address(environment: Mapping[str, str]) -> EngineAddress:
    """Return the address that docker uses without any settings."""
    return _address(DEFAULT_HOST, "the default socket", environment)


def named_address(environment: Mapping[str, str]) -> EngineAddress | None:
    """Return the engine that the user has named, or None.

    Raises `BadInput` when the docker context does not exist.
    """
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
    """Return the folder of the user's docker settings."""
    home = Path(environment.get("HOME") or "/")
    return Path(environment.get("DOCKER_CONFIG") or home / ".docker")


def read_settings(file: Path) -> Mapping[str, Any]:
    """Read the object in one of docker's settings files; empty for an empty or missing file.

    Raises `BadInput` for any other content.
    """
    try:
        text = file.read_text(encoding="utf-8")
        # Docker itself accepts an empty file.
        settings = json.loads(text) if text.strip() else {}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not JSON: {error}", where=str(file), hint=_REPAIR_HINT) from error
    if not isinstance(settings, dict):
        raise BadInput("not a JSON object", where=str(file), hint=_REPAIR_HINT)
    return settings


def _of_context(name: str, environment: Mapping[str, str], *, where: str) -> EngineAddress:
    # In the docker command's store, folders have the sha256 of the context's name.
    store = docker_config_folder(environment) / "contexts"
    folder = hashlib.sha256(name.encode()).hexdigest()
    endpoint: Any = read_settings(store / "meta" / folder / "meta.json")
    for part in ("Endpoints", "docker"):
        endpoint = endpoint.get(part) if isinstance(endpoint, dict) else None
    if not isinstance(endpoint, dict) or not isinstance(endpoint.get("Host"), str):
        raise BadInput(
            f"there is no docker context {name!r}",
            where=where,
            hint="`docker context ls` lists the contexts",
        )
    named_by = f"the docker context {name!r}"
    certificates = store / "tls" / folder / "docker"
    if not certificates.is_dir():
        return _address(endpoint["Host"], named_by, environment)
    tls = "DOCKER_TLS" if endpoint.get("SkipTLSVerify") else "DOCKER_TLS_VERIFY"
    variables = {tls: "1", "DOCKER_CERT_PATH": str(certificates)}
    return _address(endpoint["Host"], named_by, environment, variables)


def _address(
    host: str,
    named_by: str,
    environment: Mapping[str, str],
    variables: Mapping[str, str] | None = None,
) -> EngineAddress:
    others = {
        name: value for name, value in environment.items() if name not in _CONNECTION_VARIABLES
    }
    return EngineAddress(
        host=host,
        named_by=named_by,
        environment={**others, "DOCKER_HOST": host, **(variables or {})},
    )
