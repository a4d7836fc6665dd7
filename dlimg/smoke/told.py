"""What checks are told about the image they run in: what it is to be, from outside of it. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from dlimg.draw.labels import cuda, cudnn
from dlimg.draw.layout_tree import Node, tree_text
from dlimg.model import NOTHING, Image, Lock, Planned
from dlimg.smoke.started import NO_LABELS, start

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
class Told:
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


def told(
    planned: Planned,
    labels: Mapping[str, str],
    config: Mapping[str, object] = NOTHING_SET,
    history: Sequence[str] = (),
    reference: ReferenceData | None = None,
) -> Told:
    """The promises of the cell, its lock and the layout.

    `labels` are those that the image really has, `config` is its config and `history` the steps
    that made it, newest first, all as engines tell; `reference` is what this machine knows.
    """
    known = reference or ReferenceData()
    owner = (int(USER["uid"]), int(USER["gid"]))
    return Told(
        environment={
            "DLIMG_CELL": cell_text(planned),
            "DLIMG_LABELS": json.dumps(dict(labels), sort_keys=True),
            "DLIMG_LAYOUT": LAYOUT_PATH,
            "DLIMG_LOCK": LOCK_PATH,
            "DLIMG_HISTORY": HISTORY_PATH,
            "DLIMG_START": json.dumps(start(config, planned, known.base_labels), sort_keys=True),
        },
        files={
            LAYOUT: tree_text(planned.image.cell, planned.image.lock, known.layout, owner).encode(),
            LOCK: lock_text(planned.image.lock, known.records).encode(),
            HISTORY: json.dumps(list(history)).encode(),
        },
    )


def told_by_config(
    planned: Planned, config: Mapping[str, object], reference: ReferenceData
) -> Told:
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
    return told(planned, own, found, history, reference)


def cell_text(planned: Planned) -> str:
    """`DLIMG_CELL`: the axes of the cell as JSON, for checks that prove them."""
    cell, lock = planned.image.cell, planned.image.lock
    axes = {
        "cell": cell.id,
        "family": cell.family,
        "package": cell.package,
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


def lock_text(lock: Lock, records: Mapping[str, str] = NOTHING) -> str:
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
