"""Checks of the image's labels (DLIMG_LABELS) against its tag and the installed packages."""

import json
import os
from collections.abc import Mapping

import _verdict

PREFIX = "io.dlimg."
WHEELS = "wheels"
# Labels that repeat an axis of the tag, under its name.
AXES = (
    "cell",
    "family",
    "package",
    "version",
    "accelerator",
    "cuda",
    "cudnn",
    "python",
    "os",
    "flavour",
    "key",
    "base",
    "base-source",
    "packages",
)
# Labels of a base that was made here, which images on it inherit.
OF_BASE = {"base-os": "os", "base-identity": "base"}
# What the base and the image were made by, and what was written on it for publishing: nothing
# inside shows it.
UNPROVED = {"base-recipe", "builder", "gpu-tested", "tested-digest"}
PUBLIC = {
    "org.opencontainers.image.version": "version",
    "org.opencontainers.image.title": "cell",
}


def read() -> dict[str, str]:
    """Return the image's labels; fail if there are none."""
    try:
        labels = json.loads(os.environ.get("DLIMG_LABELS") or "{}")
        return {str(name): str(value) for name, value in labels.items()}
    except (ValueError, AttributeError) as error:
        return _verdict.fail(f"DLIMG_LABELS is no JSON object: {error}")


def mismatches(
    labels: Mapping[str, str], expected: Mapping[str, str], installed: Mapping[str, str]
) -> list[str]:
    """Return the labels that are missing, unexpected, or differ from the tag.

    The tag's axes are compared with the image, so labels that repeat the tag are proved too.
    """
    ours = {
        name.removeprefix(PREFIX): value
        for name, value in labels.items()
        if name.startswith(PREFIX)
    }
    if not ours:
        return ["labels: the image has none of its own"]
    wanted = {name: expected[name] for name in AXES if expected[name]}
    wanted |= {name: expected[axis] for name, axis in OF_BASE.items() if name in ours}
    actual = {name: text for name, text in ours.items() if name not in {WHEELS, *UNPROVED}}
    return [
        *_differences(wanted, actual),
        *_differences(
            {name: expected[axis] for name, axis in PUBLIC.items()},
            {name: labels[name] for name in PUBLIC if name in labels},
        ),
        *wheel_mismatches(ours.get(WHEELS, ""), installed),
    ]


def _differences(wanted: Mapping[str, str], actual: Mapping[str, str]) -> list[str]:
    return [
        f"label {name}: it says {actual.get(name, 'nothing')}, "
        f"and what was promised is {wanted.get(name, 'nothing')}"
        for name in sorted(wanted.keys() | actual.keys())
        if wanted.get(name) != actual.get(name)
    ]


def wheel_mismatches(text: str, installed: Mapping[str, str]) -> list[str]:
    """Return the differences between the label `name==version ...` and the installed packages."""
    if not text:
        return ["label wheels: there is none"]
    named = {
        name: version for name, _, version in (entry.partition("==") for entry in text.split())
    }
    wrong = [
        f"{name} {named.get(name, 'not')} (installed {installed.get(name, 'not')})"
        for name in sorted(named.keys() | installed.keys())
        if named.get(name) != installed.get(name)
    ]
    return [f"label wheels: it names {', '.join(wrong)}"] if wrong else []
