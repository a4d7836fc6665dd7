"""The image's config by the engine's word, beside the one that it is to have. Pure.

What it is to have is computed from the cell, the layout and the plan, never read back from a
Dockerfile or from the image: either may hold a lie.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from dlimg.draw.bake import BUILDER_LABEL, labels
from dlimg.draw.config import Config
from dlimg.draw.image_config import image_config
from dlimg.engine import bases
from dlimg.model import BaseSource, Planned

# All that is compared. What else an engine says of an image, and is set, is reported as well.
NAMES: Final = (
    *("Entrypoint", "Cmd", "WorkingDir", "User", "Env", "ExposedPorts", "Shell", "Healthcheck"),
    *("Labels", "OnBuild", "Volumes", "StopSignal"),
)
# These are a container's, noted by an old engine or by `docker commit`, or say nothing.
IGNORED: Final = frozenset(
    {
        *("AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce", "Tty"),
        *("ArgsEscaped", "Domainname", "Hostname", "Image"),
    }
)
NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})
# Labels whose value an image may have from another build of the same: who built it, and what was
# written on it for publishing.
_BUILDERS: Final = re.compile(r"buildkit|layers/[0-9]+")
_PUBLISHED: Final[Mapping[str, re.Pattern[str]]] = {
    "io.dlimg.gpu-tested": re.compile("no"),
    "io.dlimg.tested-digest": re.compile("sha256:[0-9a-f]{64}"),
}
# What the distributions' own images at registries bring.
_OF_VENDOR: Final[Mapping[str, Mapping[str, str]]] = {
    "ubuntu": {"org.opencontainers.image.ref.name": "ubuntu"},
}


def start(
    config: Mapping[str, Any], planned: Planned, base_labels: Mapping[str, str] = NO_LABELS
) -> dict[str, object]:
    """`is` is what the engine says, `said` what is to be; both in the same words.

    `base_labels` are those of the registry's image that this one is made from, where they can be
    had.
    """
    found = {name: config.get(name) or None for name in NAMES}
    found |= {name: one for name, one in config.items() if one and name not in (*NAMES, *IGNORED)}
    found["Env"] = _variables(config.get("Env"))
    found["ExposedPorts"] = sorted(config.get("ExposedPorts") or ())
    real_labels = {str(name): str(text) for name, text in (config.get("Labels") or {}).items()}
    found["Labels"] = real_labels
    promised = _words(image_config(planned.image.cell, planned.image.labels))
    promised["Labels"] = _labels(planned, real_labels, base_labels)
    return {"is": found, "said": {**dict.fromkeys(NAMES), **promised}}


def _words(config: Config) -> dict[str, object]:
    return {
        "Entrypoint": list(config.entrypoint) or None,
        "Cmd": list(config.cmd) or None,
        "WorkingDir": config.workdir or None,
        "User": config.user or None,
        "Env": _variables(config.env),
        "ExposedPorts": list(config.exposed),
        "Shell": list(config.shell) or None,
        "Healthcheck": dict(config.healthcheck) or None,
    }


def _labels(
    planned: Planned, real: Mapping[str, str], base_labels: Mapping[str, str]
) -> dict[str, str]:
    """The labels that are promised; where several values would be right, the one that is there."""
    builder = real.get(BUILDER_LABEL, "")
    promised = labels(planned, builder if _BUILDERS.fullmatch(builder) else "buildkit")
    for name, pattern in _PUBLISHED.items():
        if pattern.fullmatch(real.get(name, "")):
            promised[name] = real[name]
    if planned.base.source is BaseSource.REGISTRY:
        below = {**_OF_VENDOR.get(planned.image.cell.os.vendor, {}), **base_labels}
        inherited = {name: text for name, text in below.items() if real.get(name) == text}
        return {**inherited, **promised}
    below = bases.labels(planned.image.cell.os, planned.base.identity)
    # An image from a registry may be on a base that another dlimg made, by another recipe.
    below[bases.RECIPE_LABEL] = real.get(bases.RECIPE_LABEL, "")
    return {**below, **promised}


def _variables(pairs: object) -> dict[str, str]:
    """Values by name. One that is set twice has both: programs differ in which they take."""
    found: dict[str, str] = {}
    for pair in pairs if isinstance(pairs, Iterable) else ():
        name, _, value = str(pair).partition("=")
        found[name] = f"{found[name]}\n{value}" if name in found else value
    return found
