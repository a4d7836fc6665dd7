"""What checks are told about the image they run in: what it is to be, from outside of it. Pure."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from dlimg.engine import bases
from dlimg.model import NOTHING, BaseSource, Image, Lock, PlannedImage
from dlimg.render.bake import BUILDER_LABEL, labels
from dlimg.render.image_config import ImageConfig, image_config
from dlimg.render.layout_tree import Node, tree_text
from dlimg.render.naming import cuda, cudnn

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


def compare_config(
    config: Mapping[str, Any], planned: PlannedImage, base_labels: Mapping[str, str] = NO_LABELS
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


def _words(config: ImageConfig) -> dict[str, object]:
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
    planned: PlannedImage, real: Mapping[str, str], base_labels: Mapping[str, str]
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
    below = bases.base_labels(planned.image.cell.os, planned.base.identity)
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


# Where a container finds the files that checks are told by: beside the scripts.
LOCK: Final = "lock.json"
LOCK_PATH: Final = f"/tmp/dlimg/{LOCK}"  # noqa: S108 -- in a container of our own
LAYOUT: Final = "layout.json"
LAYOUT_PATH: Final = f"/tmp/dlimg/{LAYOUT}"  # noqa: S108
HISTORY: Final = "history.json"
HISTORY_PATH: Final = f"/tmp/dlimg/{HISTORY}"  # noqa: S108
# The user that images/_layout/Dockerfile.j2 makes.
USER: Final[Mapping[str, str]] = MappingProxyType(
    {"user": "user", "uid": "1000", "gid": "100", "home": "/home/user"}
)
NOTHING_SET: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInputs:
    """Variables of a check's environment, and files by their path beside the scripts."""

    environment: Mapping[str, str]
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceData:
    """What a machine knows that an image is compared with.

    The labels of its base, the layout's own paths, and digests of wheels' RECORDs by name.
    """

    base_labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    layout: Sequence[Node] = ()
    records: Mapping[str, str] = field(default_factory=lambda: NOTHING)


def check_inputs(
    planned: PlannedImage,
    labels: Mapping[str, str],
    config: Mapping[str, object] = NOTHING_SET,
    history: Sequence[str] = (),
    reference: ReferenceData | None = None,
) -> CheckInputs:
    """The promises of the cell, its lock and the layout.

    `labels` are those that the image really has, `config` is its config and `history` the steps
    that made it, newest first, all as engines tell; `reference` is what this machine knows.
    """
    known = reference or ReferenceData()
    owner = (int(USER["uid"]), int(USER["gid"]))
    return CheckInputs(
        environment={
            "DLIMG_CELL": cell_json(planned),
            "DLIMG_LABELS": json.dumps(dict(labels), sort_keys=True),
            "DLIMG_LAYOUT": LAYOUT_PATH,
            "DLIMG_LOCK": LOCK_PATH,
            "DLIMG_HISTORY": HISTORY_PATH,
            "DLIMG_START": json.dumps(
                compare_config(config, planned, known.base_labels), sort_keys=True
            ),
        },
        files={
            LAYOUT: tree_text(planned.image.cell, planned.image.lock, known.layout, owner).encode(),
            LOCK: lock_json(planned.image.lock, known.records).encode(),
            HISTORY: json.dumps(list(history)).encode(),
        },
    )


def check_inputs_from_config(
    planned: PlannedImage, config: Mapping[str, object], reference: ReferenceData
) -> CheckInputs:
    """The same for an image of which a registry tells: its config, as OCI writes it.

    Where this tells something else than an engine would, the image is pulled and tested again.
    """
    settings, steps = config.get("config"), config.get("history")
    found = settings if isinstance(settings, dict) else {}
    labels = found.get("Labels")
    # Newest first, as engines tell.
    history = [
        str(step.get("created_by") or "")
        for step in (reversed(steps) if isinstance(steps, list) else ())
        if isinstance(step, dict)
    ]
    own = labels if isinstance(labels, dict) else {}
    return check_inputs(planned, own, found, history, reference)


def cell_json(planned: PlannedImage) -> str:
    """`DLIMG_CELL`: the axes of the cell as JSON, for checks that prove them."""
    cell, lock = planned.image.cell, planned.image.lock
    axes = {
        "cell": cell.id,
        "family": cell.family,
        "package": cell.package,
        "framework": cell.framework.folder,
        "module": cell.framework.module,
        "version": cell.version,
        "accelerator": cell.accelerator,
        "cuda": cuda(cell),
        "cudnn": cudnn(cell, lock),
        "nccl": nccl(lock) if cell.is_cuda else "",
        "python": cell.python,
        "os": cell.os.name,
        "glibc": cell.os.glibc,
        "platform": cell.platform,
        "flavour": str(cell.flavour),
        "companions": companions(planned.image),
        "architectures": " ".join(cell.architectures),
        **USER,
        "key": planned.key,
        "base": planned.base.identity,
        "base-source": str(planned.base.source),
        "packages": planned.packages,
    }
    return json.dumps(axes)


def nccl(lock: Lock) -> str:
    """The NCCL that the lock holds, in full, or an empty text."""
    return lock.version_of("nvidia-nccl-cu13", "nvidia-nccl-cu12")


def companions(image: Image) -> str:
    """`name==version` of what stands beside the framework, out of the lock.

    That is what the cell asks for besides the framework and pip, and what bears the framework's
    name in front of its own (`jaxlib`, `torchvision`).
    """
    package = image.cell.package
    asked = {_name(text) for text in image.cell.requirements} - {"pip"}
    return " ".join(
        f"{wheel.name}=={wheel.version}"
        for wheel in sorted(image.lock.wheels, key=lambda one: one.name)
        if wheel.name != package and (wheel.name in asked or wheel.name.startswith(package))
    )


def _name(requirement: str) -> str:
    """The package that a requirement begins with, as locks write it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~;( ]", requirement, maxsplit=1)[0]).lower()


def lock_json(lock: Lock, records: Mapping[str, str] = NOTHING) -> str:
    """The lock as a check reads it: a JSON list of wheels with name, version, file and sha256.

    `record` is the sha256 of the wheel's RECORD in an image, or empty where nobody knows it.
    """
    wheels = [
        {
            "name": wheel.name,
            "version": wheel.version,
            "file": wheel.file,
            "sha256": wheel.sha256,
            "record": records.get(wheel.name, ""),
        }
        for wheel in lock.wheels
    ]
    return json.dumps(wheels)
