"""Inputs of checks: the expected properties of an image, from sources outside of it. Pure."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Final

from dlimg.engine import bases
from dlimg.model import EMPTY_MAPPING, BaseSource, Cell, Image, Lock, PlannedImage
from dlimg.render.bake import BUILDER_LABEL, final_labels
from dlimg.render.image_config import ImageConfig, image_config
from dlimg.render.layout_tree import Node, tree_text
from dlimg.render.naming import cuda_version, locked_cudnn

# The settings that are compared. Others that an image sets are reported as well.
NAMES: Final = (
    *("Entrypoint", "Cmd", "WorkingDir", "User", "Env", "ExposedPorts", "Shell", "Healthcheck"),
    *("Labels", "OnBuild", "Volumes", "StopSignal"),
)
# Settings of a container, which old engines and `docker commit` write, or without a meaning.
IGNORED: Final = frozenset(
    {
        *("AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce", "Tty"),
        *("ArgsEscaped", "Domainname", "Hostname", "Image"),
    }
)
NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})
# Labels that differ between equal images: their builder, and those added for publishing.
_BUILDERS: Final = re.compile(r"buildkit|layers/[0-9]+")
_PUBLISHED: Final[Mapping[str, re.Pattern[str]]] = {
    "io.dlimg.gpu-tested": re.compile("no"),
    "io.dlimg.tested-digest": re.compile("sha256:[0-9a-f]{64}"),
}
# Labels of the distributions' own images at registries.
_VENDOR_LABELS: Final[Mapping[str, Mapping[str, str]]] = {
    "ubuntu": {"org.opencontainers.image.ref.name": "ubuntu"},
}


def compare_config(
    config: Mapping[str, Any], planned: PlannedImage, base_labels: Mapping[str, str] = NO_LABELS
) -> dict[str, object]:
    """Return the `actual` config of the image, and the `expected` one, in the same form.

    `base_labels` are those of the registry's base image, if they are known.
    """
    actual = {name: config.get(name) or None for name in NAMES}
    actual |= {
        name: value for name, value in config.items() if value and name not in (*NAMES, *IGNORED)
    }
    actual["Env"] = _variables(config.get("Env"))
    actual["ExposedPorts"] = sorted(config.get("ExposedPorts") or ())
    labels = {str(name): str(value) for name, value in (config.get("Labels") or {}).items()}
    actual["Labels"] = labels
    expected = _config_values(image_config(planned.image.cell, planned.image.labels))
    expected["Labels"] = _expected_labels(planned, labels, base_labels)
    return {"actual": actual, "expected": {**dict.fromkeys(NAMES), **expected}}


def _config_values(config: ImageConfig) -> dict[str, object]:
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


def _expected_labels(
    planned: PlannedImage, actual: Mapping[str, str], base_labels: Mapping[str, str]
) -> dict[str, str]:
    """Return the expected labels; if several values are right, the actual one."""
    builder = actual.get(BUILDER_LABEL, "")
    expected = final_labels(planned, builder if _BUILDERS.fullmatch(builder) else "buildkit")
    for name, pattern in _PUBLISHED.items():
        if pattern.fullmatch(actual.get(name, "")):
            expected[name] = actual[name]
    if planned.base.source is BaseSource.REGISTRY:
        below = {**_VENDOR_LABELS.get(planned.image.cell.os.vendor, {}), **base_labels}
        inherited = {name: value for name, value in below.items() if actual.get(name) == value}
        return {**inherited, **expected}
    below = bases.base_labels(planned.image.cell.os, planned.base.identity)
    # An image from a registry may be on a base that another version of dlimg built.
    below[bases.RECIPE_LABEL] = actual.get(bases.RECIPE_LABEL, "")
    return {**below, **expected}


def _variables(pairs: object) -> dict[str, str]:
    """Return values by name; one that is set twice has both values, as programs use either."""
    variables: dict[str, str] = {}
    for pair in pairs if isinstance(pairs, Iterable) else ():
        name, _, value = str(pair).partition("=")
        variables[name] = f"{variables[name]}\n{value}" if name in variables else value
    return variables


# Input files of checks, beside the scripts in the container.
LOCK: Final = "lock.json"
LOCK_PATH: Final = f"/tmp/dlimg/{LOCK}"  # noqa: S108 -- in a container of our own
LAYOUT: Final = "layout.json"
LAYOUT_PATH: Final = f"/tmp/dlimg/{LAYOUT}"  # noqa: S108
HISTORY: Final = "history.json"
HISTORY_PATH: Final = f"/tmp/dlimg/{HISTORY}"  # noqa: S108
NOTHING_SET: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInputs:
    """A check's environment variables, and its input files by their path beside the scripts."""

    environment: Mapping[str, str]
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceData:
    """Data of this machine to compare an image with.

    The labels of its base, the layout's own paths, and the sha256 of wheels' RECORDs by package.
    """

    base_labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    layout: Sequence[Node] = ()
    records: Mapping[str, str] = field(default_factory=lambda: EMPTY_MAPPING)


def make_inputs(
    planned: PlannedImage,
    labels: Mapping[str, str],
    config: Mapping[str, object] = NOTHING_SET,
    history: Sequence[str] = (),
    reference: ReferenceData | None = None,
) -> CheckInputs:
    """Return the inputs of checks from the cell, its lock, the layout and the actual image.

    `labels`, `config` and `history` (its steps, newest first) are the image's, in the engine's
    form; `reference` is what this machine can compare it with.
    """
    data = reference or ReferenceData()
    return CheckInputs(
        environment={
            "DLIMG_CELL": cell_json(planned),
            "DLIMG_LABELS": json.dumps(dict(labels), sort_keys=True),
            "DLIMG_EXCEPTIONS": exceptions_json(planned.image.cell),
            "DLIMG_LAYOUT": LAYOUT_PATH,
            "DLIMG_LOCK": LOCK_PATH,
            "DLIMG_HISTORY": HISTORY_PATH,
            "DLIMG_START": json.dumps(
                compare_config(config, planned, data.base_labels), sort_keys=True
            ),
        },
        files={
            LAYOUT: tree_text(planned.image.cell, planned.image.lock, data.layout).encode(),
            LOCK: lock_json(planned.image.lock, data.records).encode(),
            HISTORY: json.dumps(list(history)).encode(),
        },
    )


def make_inputs_from_config(
    planned: PlannedImage, config: Mapping[str, object], reference: ReferenceData
) -> CheckInputs:
    """Return the inputs of checks for an image at a registry, from its OCI config.

    Where they differ from those of the same image in an engine, it is pulled and tested again.
    """
    settings, steps = config.get("config"), config.get("history")
    image_settings = settings if isinstance(settings, dict) else {}
    labels = image_settings.get("Labels")
    # Newest first, as in engines.
    history = [
        str(step.get("created_by") or "")
        for step in (reversed(steps) if isinstance(steps, list) else ())
        if isinstance(step, dict)
    ]
    image_labels = labels if isinstance(labels, dict) else {}
    return make_inputs(planned, image_labels, image_settings, history, reference)


def cell_json(planned: PlannedImage) -> str:
    """Return the axes of the cell as JSON, for the variable `DLIMG_CELL`."""
    cell, lock = planned.image.cell, planned.image.lock
    paired = paired_packages_of(planned.image)
    axes = {
        "framework_packages": " ".join(framework_packages(planned.image)),
        "cell": cell.id,
        "family": cell.family,
        "package": cell.package,
        "framework": cell.framework.folder,
        "module": cell.framework.module,
        "version": cell.version,
        "accelerator": cell.accelerator,
        "cuda": cuda_version(cell),
        "cudnn": locked_cudnn(cell, lock),
        "nccl": nccl_version_of(lock) if cell.is_cuda else "",
        "python": cell.python,
        "os": cell.os.name,
        "glibc": cell.os.glibc,
        "platform": cell.platform,
        "flavour": str(cell.flavour),
        "paired_packages": paired,
        "companions": paired,  # the old name, until the next release
        "architectures": " ".join(cell.architectures),
        "user": cell.user.name,
        "uid": str(cell.user.number),
        "gid": str(cell.user.group),
        "home": cell.user.home,
        "key": planned.key,
        "base": planned.base.identity,
        "base-source": str(planned.base.source),
        "packages": planned.packages,
    }
    if cell.cudnn_override:
        axes["cudnn-override"] = cell.cudnn_override
    return json.dumps(axes)


def framework_packages(image: Image) -> list[str]:
    """Return the framework's own packages in the lock, and those that its facts pair with it."""
    cell = image.cell
    own = {cell.package, *cell.paired_packages}
    return [
        wheel.name
        for wheel in image.lock.wheels
        if wheel.name in own or wheel.name.startswith(cell.framework.fixed_packages)
    ]


def exceptions_json(cell: Cell) -> str:
    """Return the exceptions of the matrix as JSON, for the variable `DLIMG_EXCEPTIONS`."""
    return json.dumps([asdict(exception) for exception in cell.additions.check_exceptions])


def nccl_version_of(lock: Lock) -> str:
    """Return the full version of NCCL in the lock, or an empty text."""
    return lock.version_of("nvidia-nccl-cu13", "nvidia-nccl-cu12", "nvidia-nccl-cu11")


def paired_packages_of(image: Image) -> str:
    """Return the locked packages paired with the framework as `name==version`.

    They are the cell's other requirements except pip, and the packages whose names begin with
    the framework's (`jaxlib`, `torchvision`).
    """
    package = image.cell.package
    required = {_package_name(text) for text in image.cell.requirements} - {"pip"}
    return " ".join(
        f"{wheel.name}=={wheel.version}"
        for wheel in sorted(image.lock.wheels, key=lambda wheel: wheel.name)
        if wheel.name != package and (wheel.name in required or wheel.name.startswith(package))
    )


def _package_name(requirement: str) -> str:
    """Return the normalized name of a requirement's package."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~;( ]", requirement, maxsplit=1)[0]).lower()


def lock_json(lock: Lock, records: Mapping[str, str] = EMPTY_MAPPING) -> str:
    """Return the lock as a JSON list of wheels with name, version, file, sha256 and record.

    `record` is the sha256 of the wheel's RECORD in an image, or empty if it is not known;
    `replaced` are the paths where another wheel's file is.
    """
    replaced: dict[str, list[str]] = {}
    for shared in lock.shared_paths:
        for name in shared.replaced:
            replaced.setdefault(name, []).append(shared.path)
    wheels = [
        {
            "name": wheel.name,
            "version": wheel.version,
            "file": wheel.file,
            "sha256": wheel.sha256,
            "record": records.get(wheel.name, ""),
            **({"replaced": replaced[wheel.name]} if wheel.name in replaced else {}),
        }
        for wheel in lock.wheels
    ]
    return json.dumps(wheels)
