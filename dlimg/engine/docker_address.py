"""The address of the user's container engine: DOCKER_HOST or a docker context."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dlimg.context import Context
from dlimg.errors import BadInput

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_REPAIR_HINT: Final = "docker keeps its settings in this file; repair it, or move it away"
_CONNECTION_VARIABLES: Final = frozenset(
    {"DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """An engine's address, the setting that names it, and a context that leads to it."""

    host: str
    named_by: str
    context: Context


def default_address(context: Context) -> EngineAddress:
    """Return the address that docker uses without any settings."""
    return _address(DEFAULT_HOST, "the default socket", context)


def named_address(context: Context) -> EngineAddress | None:
    """Return the engine that the user has named, or None.

    Raises `BadInput` when the docker context does not exist.
    """
    host = context.environment.get("DOCKER_HOST", "")
    if host:
        return EngineAddress(host=host, named_by="DOCKER_HOST", context=context)
    settings = docker_config_folder(context) / "config.json"
    chosen = context.environment.get("DOCKER_CONTEXT", "")
    name = chosen or str(read_settings(settings).get("currentContext") or "")
    if name in {"", "default"}:
        return None
    where = "DOCKER_CONTEXT" if chosen else str(settings)
    return _of_context(name, context, where=where)


def docker_config_folder(context: Context) -> Path:
    """Return the folder of the user's docker settings."""
    home = Path(context.environment.get("HOME") or "/")
    return Path(context.environment.get("DOCKER_CONFIG") or home / ".docker")


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


def _of_context(name: str, context: Context, *, where: str) -> EngineAddress:
    # In the docker command's store, folders have the sha256 of the context's name.
    store = docker_config_folder(context) / "contexts"
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
        return _address(endpoint["Host"], named_by, context)
    tls = "DOCKER_TLS" if endpoint.get("SkipTLSVerify") else "DOCKER_TLS_VERIFY"
    variables = {tls: "1", "DOCKER_CERT_PATH": str(certificates)}
    return _address(endpoint["Host"], named_by, context, variables)


def _address(
    host: str,
    named_by: str,
    context: Context,
    variables: Mapping[str, str] | None = None,
) -> EngineAddress:
    others = {
        name: value
        for name, value in context.environment.items()
        if name not in _CONNECTION_VARIABLES
    }
    return EngineAddress(
        host=host,
        named_by=named_by,
        context=replace(context, environment={**others, "DOCKER_HOST": host, **(variables or {})}),
    )
