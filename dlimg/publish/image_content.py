"""The content of an image as a registry or an engine describes it, and who built it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from dlimg.publish.attach import TESTED_DIGEST_LABEL
from dlimg.publish.relabel import GPU_TESTED_LABEL
from dlimg.render.bake import KEY_LABEL
from dlimg.render.naming import WHEELS_LABEL
from dlimg.store.image_manifest import HISTORY_PREFIXES

Maker = Literal[
    "dlimg", "another builder, on an image of dlimg", "dlimg, as a base", "another builder"
]

CELL_LABEL: Final = "io.dlimg.cell"
ENTRYPOINT: Final = "dlimg-entrypoint"
BASE_LABEL: Final = "io.dlimg.base-os"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLayer:
    """A layer and the history step that made it; a size that is not known is None."""

    digest: str
    step: str
    compressed: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContent:
    """An image; `digest` is its manifest's or the engine's id, `digests` all digests of it.

    `steps` is its whole history. `compressed` is the number of bytes to pull and `size` that of the
    uncompressed layers, each None if unknown. `subjects` are the digests whose referrers belong to
    it. `tested_digest` is that of the tested image, if this image is proved to be the tested one
    with two more labels.
    """

    reference: str
    source: Literal["engine", "registry"]
    digest: str
    digests: frozenset[str]
    platform: str
    created: str
    user: str
    workdir: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    labels: Mapping[str, str] = field(repr=False)
    layers: tuple[ContentLayer, ...] = field(repr=False)
    steps: tuple[str, ...] = field(repr=False)
    compressed: int | None = None
    size: int | None = None
    subjects: tuple[str, ...] = ()
    tested_digest: str = ""

    @property
    def evidence_digests(self) -> frozenset[str]:
        """The digests that evidence of this image may be about; labels alone add none."""
        return self.digests | ({self.tested_digest} - {""})

    @property
    def claimed_digest(self) -> str:
        """The digest that a label names as the tested image's, unverified, or an empty text."""
        is_marked = self.labels.get(GPU_TESTED_LABEL) == "no"
        return self.labels.get(TESTED_DIGEST_LABEL, "") if is_marked else ""


def maker_of(content: ImageContent) -> Maker:
    """Return who built the image, by its labels and history.

    An image inherits the labels of its base, so history steps after dlimg's show another builder.
    """
    if CELL_LABEL not in content.labels:
        is_base = BASE_LABEL in content.labels and len(content.layers) == 1
        return "dlimg, as a base" if is_base else "another builder"
    if later_steps_of(content):
        return "another builder, on an image of dlimg"
    has_entrypoint = any(ENTRYPOINT in text for text in (*content.entrypoint, *content.steps))
    return "dlimg" if has_entrypoint else "another builder"


def later_steps_of(content: ImageContent) -> tuple[str, ...]:
    """Return the history steps after those of dlimg, which another build added.

    dlimg's Dockerfile ends with its entrypoint and command; an assembled image has the history
    texts of its layers instead.
    """
    own_label = f"LABEL {GPU_TESTED_LABEL}="
    last = -1
    for index, step in enumerate(content.steps):
        if _is_entrypoint(step) or step.startswith(HISTORY_PREFIXES):
            last = index
    if last < 0:
        return ()  # the history does not tell where dlimg's steps end
    following = content.steps[last + 1 :]
    if _is_entrypoint(content.steps[last]) and following and following[0].startswith("CMD"):
        following = following[1:]
    return tuple(step for step in following if not step.startswith(own_label))


def _is_entrypoint(step: str) -> bool:
    return step.startswith("ENTRYPOINT") and ENTRYPOINT in step


def parse_wheels_label(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return name and version of each wheel in the image's label."""
    pairs = (text.partition("==") for text in labels.get(WHEELS_LABEL, "").split())
    return tuple((name, version) for name, _, version in pairs if version)


def parse_start_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `ImageContent` that a config holds: how the image starts, its labels."""
    value = config.get("Labels")
    labels = value if isinstance(value, dict) else {}
    return {
        "user": str(config.get("User") or ""),
        "workdir": str(config.get("WorkingDir") or ""),
        "entrypoint": _texts(config.get("Entrypoint")),
        "command": _texts(config.get("Cmd")),
        "labels": {str(name): str(text) for name, text in labels.items()},
    }


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(text) for text in value) if isinstance(value, list) else ()


def sum_sizes(sizes: Sequence[int | None]) -> int | None:
    """Return the sum, or None when any size is not known."""
    known_sizes = [size for size in sizes if size is not None]
    return sum(known_sizes) if len(known_sizes) == len(sizes) else None


def key_of(content: ImageContent) -> str:
    """Return the content key, or an empty text for an image that was not built by dlimg."""
    return content.labels.get(KEY_LABEL, "")
