"""How an image is started: what the engine says of it beside what its Dockerfile says. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from dlimg.draw.config import Config, image_config
from dlimg.errors import BadInput

# Of the names in an image's config those that change how it is run.
NAMES: Final = ("Entrypoint", "Cmd", "WorkingDir", "User", "Env", "ExposedPorts")
# No image of ours has them: `image_config` knows no instruction that would set them.
NEVER: Final = ("Healthcheck", "OnBuild", "Volumes", "StopSignal")


def start(config: Mapping[str, object], dockerfile: str) -> dict[str, object]:
    """`is` is what the engine says, `said` what the Dockerfile says; both in the same words.

    `said` is None where a Dockerfile of one's own cannot be read without executing it.
    """
    found = {name: config.get(name) or None for name in (*NAMES, *NEVER)}
    found["Env"] = _variables(config.get("Env"))
    found["ExposedPorts"] = _sorted(config.get("ExposedPorts"))
    return {"is": found, "said": _said(dockerfile)}


def _said(dockerfile: str) -> dict[str, object] | None:
    try:
        config = image_config(dockerfile)
    except BadInput:
        return None
    return {**dict.fromkeys(NEVER), **_words(config)}


def _words(config: Config) -> dict[str, object]:
    return {
        "Entrypoint": list(config.entrypoint) or None,
        "Cmd": list(config.cmd) or None,
        "WorkingDir": config.workdir or None,
        "User": config.user or None,
        "Env": _variables(config.env),
        "ExposedPorts": list(config.exposed),
    }


def _variables(pairs: object) -> dict[str, str]:
    texts = pairs if isinstance(pairs, Iterable) else ()
    return {name: value for name, _, value in (str(one).partition("=") for one in texts)}


def _sorted(ports: object) -> list[str]:
    return sorted(str(one) for one in ports) if isinstance(ports, Iterable) else []
