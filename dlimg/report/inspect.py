"""Inspected images as rows and as data."""

from collections.abc import Mapping
from typing import Final

from dlimg.checks.verdicts import is_gpu_tested
from dlimg.pipeline.device_evidence import newest_by_gpu
from dlimg.pipeline.inspect import InspectReport
from dlimg.publish.image_content import (
    CELL_LABEL,
    ContentLayer,
    ImageContent,
    key_of,
    later_steps_of,
    maker_of,
    parse_wheels_label,
)
from dlimg.publish.policy import NOT_TESTED_ON_GPU
from dlimg.render.bake import KEY_LABEL, PACKAGES_LABEL
from dlimg.render.naming import WHEELS_LABEL
from dlimg.report.evidence_text import on_gpu_text, proof_json
from dlimg.units import bytes_text, counted

# The beginning that all steps of dlimg's Dockerfiles share.
_NOISE: Final = ("[ ", "export ", "began=", "cp ", "#", "|")
_SHELL: Final = "RUN /bin/bash -euo pipefail -c "
_AXES: Final = (
    *("cell", "family", "package", "version", "accelerator", "cuda", "cudnn", "python", "os"),
    "flavour",
)
_BASE: Final = ("org.opencontainers.image.base.name", "io.dlimg.base-source", "io.dlimg.base")
_SHOWN: Final = frozenset(
    (
        *(f"io.dlimg.{name}" for name in (*_AXES, "base-identity", "base-os", "base-recipe")),
        *(f"org.opencontainers.image.{name}" for name in ("base.digest", "title", "version")),
        *(*_BASE, KEY_LABEL, PACKAGES_LABEL, WHEELS_LABEL),
    )
)


def made_text(content: ImageContent) -> str:
    """Return who built the image."""
    match maker_of(content):
        case "dlimg":
            how = "" if key_of(content) else ", by `docker build` from a rendered Dockerfile"
            return f"made by dlimg{how}"
        case "dlimg, as a base":
            return "a base that dlimg made: an operating system, no image of a cell"
        case "another builder, on an image of dlimg":
            steps = counted(len(later_steps_of(content)), "further step")
            return (
                f"not made by dlimg: built on an image of dlimg, in {steps}; its labels tell of "
                "that image"
            )
        case "another builder":
            has_label = CELL_LABEL in content.labels
            labels = "a label of it, and nothing else" if has_label else "none of its labels"
            return f"not made by dlimg: it has {labels}"


def printable(text: str) -> str:
    """Return the text with control characters replaced: labels are written by others."""
    return "".join(character if character.isprintable() else "?" for character in text)


def fact_rows(report: InspectReport) -> list[tuple[str, str]]:
    """Return the image's properties by name, without those that it lacks."""
    content, labels = report.content, report.content.labels
    sizes = (
        f"{bytes_text(content.compressed)} to pull" if content.compressed is not None else "",
        f"{bytes_text(content.size)} unpacked" if content.size is not None else "",
    )
    rows = [
        ("made", made_text(content)),
        ("found", f"in the {content.source}" if content.source == "engine" else "at the registry"),
        ("digest", content.digest),
        *((axis, labels.get(f"io.dlimg.{axis}", "")) for axis in _AXES),
        ("base", " ".join(labels[name] for name in _BASE if name in labels)),
        ("key", key_of(content)),
        ("packages", labels.get(PACKAGES_LABEL, "")),
        ("platform", content.platform),
        ("gpu", _gpu_standing(report)),
        ("size", ", ".join(part for part in sizes if part)),
        ("user", content.user or "root"),
        ("workdir", content.workdir),
        ("entry point", " ".join(content.entrypoint)),
        ("command", " ".join(content.command)),
        *(("label", f"{name}={text}") for name, text in labels.items() if name not in _SHOWN),
    ]
    return [(name, text) for name, text in rows if text]


def _gpu_standing(report: InspectReport) -> str:
    """Return on which GPUs a CUDA image was tested or failed; empty for a CPU image."""
    if not report.content.labels.get("io.dlimg.cuda"):
        return ""
    return (
        "; ".join(on_gpu_text(evidence) for evidence in newest_by_gpu(report.proofs))
        or NOT_TESTED_ON_GPU
    )


def wheel_rows(report: InspectReport) -> list[tuple[str, str, str]]:
    """Return each wheel with its version, and its size if the lock is attached."""
    if report.wheels:
        return [(wheel.name, wheel.version, bytes_text(wheel.size)) for wheel in report.wheels]
    return [(name, version, "-") for name, version in parse_wheels_label(report.content.labels)]


def layer_rows(content: ImageContent) -> list[tuple[str, str, str, str]]:
    """Return each layer, lowest first: sizes, the start of its digest, its build step."""
    return [
        (
            "-" if layer.compressed is None else bytes_text(layer.compressed),
            "-" if layer.size is None else bytes_text(layer.size),
            layer.digest[:19],
            step_text(layer.step),
        )
        for layer in content.layers
    ]


def step_text(step: str, width: int = 72) -> str:
    """Return the telling line of a build step: what it installs, or its first command."""
    command = step.removeprefix(_SHELL).replace("\\\n", " ")
    lines = [line.strip() for line in command.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_NOISE)] or [step]
    line = next((line for line in telling if " install " in line), telling[0])
    start = "RUN " if step.startswith(_SHELL) else ""
    text = " ".join(f"{start}{line}".split()) or "-"
    return text if len(text) <= width else f"{text[: width - 3]}..."


def inspect_json(report: InspectReport) -> dict[str, object]:
    """Return the image as stable data; docs/inspect.md lists the fields."""
    content, labels = report.content, report.content.labels
    is_ours = maker_of(content) == "dlimg"
    return {
        "reference": content.reference,
        "source": content.source,
        "digest": content.digest,
        "made_by_dlimg": is_ours,
        "made": made_text(content),
        "cell": {axis: labels.get(f"io.dlimg.{axis}") for axis in _AXES} if is_ours else None,
        "key": key_of(content) or None,
        "packages": labels.get(PACKAGES_LABEL),
        "base": _base_json(labels) if is_ours else None,
        "platform": content.platform,
        "created": content.created or None,
        "compressed_bytes": content.compressed,
        "unpacked_bytes": content.size,
        "user": content.user or "root",
        "workdir": content.workdir or None,
        "folder": content.workdir or None,  # the old name, for one release
        "entrypoint": list(content.entrypoint),
        "command": list(content.command),
        "labels": dict(sorted(labels.items())),
        "wheels": _wheels_json(report),
        "layers": [_layer_json(layer) for layer in content.layers],
        "gpu_tested": any(is_gpu_tested(evidence) for evidence in newest_by_gpu(report.proofs)),
        "evidence": [proof_json(proof) for proof in report.proofs],
        "remarks": list(report.remarks),
    }


def _base_json(labels: Mapping[str, str]) -> dict[str, str | None]:
    parts = ("name", "source", "identity")
    return {part: labels.get(label) for part, label in zip(parts, _BASE, strict=True)}


def _layer_json(layer: ContentLayer) -> dict[str, object]:
    return {
        "digest": layer.digest,
        "compressed_bytes": layer.compressed,
        "unpacked_bytes": layer.size,
        "step": layer.step,
    }


def _wheels_json(report: InspectReport) -> list[dict[str, object]]:
    if report.wheels:
        return [
            {
                "name": wheel.name,
                "version": wheel.version,
                "size": wheel.size,
                "sha256": wheel.sha256,
            }
            for wheel in report.wheels
        ]
    return [
        {"name": name, "version": version, "size": None, "sha256": None}
        for name, version in parse_wheels_label(report.content.labels)
    ]
