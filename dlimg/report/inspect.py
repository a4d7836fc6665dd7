"""An image from outside: what it is, what is in it, and what was ever proved about it."""

from typing import Final

from dlimg.checks.verdicts import is_gpu_tested
from dlimg.pipeline.inspect import InspectReport, newest_by_gpu
from dlimg.publish.image_content import (
    CELL_LABEL,
    ImageContent,
    key_of,
    labelled_wheels,
    later_steps,
    maker,
)
from dlimg.publish.policy import NOT_TESTED_ON_GPU
from dlimg.render.bake import KEY_LABEL, PACKAGES_LABEL
from dlimg.render.naming import WHEELS_LABEL
from dlimg.report.evidence_text import on_gpu_text, proof_json
from dlimg.units import bytes_text, counted

# What every step of our own Dockerfiles begins with says nothing about the step.
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
    """Whether dlimg made the image, said plainly."""
    match maker(content):
        case "dlimg":
            how = "" if key_of(content) else ", by `docker build` from a rendered Dockerfile"
            return f"made by dlimg{how}"
        case "dlimg, as a base":
            return "a base that dlimg made: an operating system, no image of a cell"
        case "another builder, on an image of dlimg":
            steps = counted(len(later_steps(content)), "further step")
            return (
                f"not made by dlimg: built on an image of dlimg, in {steps}; its labels tell of "
                "that image"
            )
        case "another builder":
            has_label = CELL_LABEL in content.labels
            what = "a label of it, and nothing else" if has_label else "none of its labels"
            return f"not made by dlimg: it has {what}"


def harmless(text: str) -> str:
    """The text without what moves a terminal's cursor: others have written labels and reasons."""
    return "".join(one if one.isprintable() else "?" for one in text)


def fact_rows(seen: InspectReport) -> list[tuple[str, str]]:
    """The image in few words, by name; what it has not is left out."""
    content, labels = seen.content, seen.content.labels
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
        ("gpu", _gpu_standing(seen)),
        ("size", ", ".join(part for part in sizes if part)),
        ("user", content.user or "root"),
        ("working directory", content.workdir),
        ("entry point", " ".join(content.entrypoint)),
        ("command", " ".join(content.command)),
        *(("label", f"{name}={text}") for name, text in labels.items() if name not in _SHOWN),
    ]
    return [(name, text) for name, text in rows if text]


def _gpu_standing(seen: InspectReport) -> str:
    """For a CUDA image on which GPUs it was tested or failed, or that it was on none."""
    if not seen.content.labels.get("io.dlimg.cuda"):
        return ""
    return "; ".join(on_gpu_text(one) for one in newest_by_gpu(seen.proofs)) or NOT_TESTED_ON_GPU


def wheel_rows(seen: InspectReport) -> list[tuple[str, str, str]]:
    """Each wheel with its version, and its size where the lock lies beside the image."""
    if seen.wheels:
        return [(one.name, one.version, bytes_text(one.size)) for one in seen.wheels]
    return [(name, version, "-") for name, version in labelled_wheels(seen.content.labels)]


def layer_rows(content: ImageContent) -> list[tuple[str, str, str, str]]:
    """Each layer, lowest first: sizes, the start of its digest, and what made it."""
    return [
        (
            "-" if one.compressed is None else bytes_text(one.compressed),
            "-" if one.size is None else bytes_text(one.size),
            one.digest[:19],
            step_text(one.step),
        )
        for one in content.layers
    ]


def step_text(step: str, width: int = 72) -> str:
    """The words of a step that tell what it does: what it installs, or its first ones."""
    whole = step.removeprefix(_SHELL).replace("\\\n", " ")
    lines = [line.strip() for line in whole.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_NOISE)] or [step]
    line = next((line for line in telling if " install " in line), telling[0])
    start = "RUN " if step.startswith(_SHELL) else ""
    text = " ".join(f"{start}{line}".split()) or "-"
    return text if len(text) <= width else f"{text[: width - 3]}..."


def inspected_json(seen: InspectReport) -> dict[str, object]:
    """The same as stable data: docs/inspect.md tells of each field."""
    content, labels = seen.content, seen.content.labels
    is_ours = maker(content) == "dlimg"
    return {
        "reference": content.reference,
        "source": content.source,
        "digest": content.digest,
        "made_by_dlimg": is_ours,
        "made": made_text(content),
        "cell": {axis: labels.get(f"io.dlimg.{axis}") for axis in _AXES} if is_ours else None,
        "key": key_of(content) or None,
        "packages": labels.get(PACKAGES_LABEL),
        "base": {
            part: labels.get(label)
            for part, label in zip(("name", "source", "identity"), _BASE, strict=True)
        }
        if is_ours
        else None,
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
        "wheels": _wheels_json(seen),
        "layers": [
            {
                "digest": one.digest,
                "compressed_bytes": one.compressed,
                "unpacked_bytes": one.size,
                "step": one.step,
            }
            for one in content.layers
        ],
        "gpu_tested": any(is_gpu_tested(one) for one in newest_by_gpu(seen.proofs)),
        "evidence": [proof_json(proof) for proof in seen.proofs],
        "remarks": list(seen.remarks),
    }


def _wheels_json(seen: InspectReport) -> list[dict[str, object]]:
    if seen.wheels:
        return [
            {"name": one.name, "version": one.version, "size": one.size, "sha256": one.sha256}
            for one in seen.wheels
        ]
    return [
        {"name": name, "version": version, "size": None, "sha256": None}
        for name, version in labelled_wheels(seen.content.labels)
    ]
