"""What an image is, as its registry or its engine tells: its layers, its settings, its makers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from dlimg.publish.attach import TESTED_DIGEST
from dlimg.publish.relabel import LABEL as UNTESTED_LABEL
from dlimg.render.bake import KEY_LABEL
from dlimg.render.naming import WHEELS_LABEL
from dlimg.store.image_manifest import HISTORY_PREFIXES

Maker = Literal["dlimg", "somebody, on an image of dlimg", "dlimg, as a base", "somebody else"]

CELL_LABEL: Final = "io.dlimg.cell"
ENTRY: Final = "dlimg-entrypoint"
BASE_LABEL: Final = "io.dlimg.base-os"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLayer:
    """One layer and the step that made it; a size that the source does not tell is nothing."""

    digest: str
    step: str
    compressed: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContent:
    """An image: `digest` is its manifest's, or the engine's id; `same` all that name these bytes.

    `steps` are the words of its whole history, `compressed` is what a pull fetches and `size`
    what is unpacked, each nothing where the source does not tell; `subjects` are the digests
    under which a registry keeps what belongs to it. `tested` is the digest of the image that was
    tested, where this one is proved to be that with two labels more.
    """

    reference: str
    source: Literal["engine", "registry"]
    digest: str
    same: frozenset[str]
    platform: str
    created: str
    user: str
    folder: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    labels: Mapping[str, str] = field(repr=False)
    layers: tuple[ContentLayer, ...] = field(repr=False)
    steps: tuple[str, ...] = field(repr=False)
    compressed: int | None = None
    size: int | None = None
    subjects: tuple[str, ...] = ()
    tested: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The digests that evidence of this image may be about.

        An image that was never on a GPU is the one that was tested, with two labels more. What
        labels claim counts for nothing here: somebody else may have written them.
        """
        return self.same | ({self.tested} - {""})

    @property
    def claimed(self) -> str:
        """The digest that a label names as the tested one's, or an empty text."""
        is_marked = self.labels.get(UNTESTED_LABEL) == "no"
        return self.labels.get(TESTED_DIGEST, "") if is_marked else ""


def maker(content: ImageContent) -> Maker:
    """Who made the image. Labels are inherited, so what was done after dlimg's last step counts."""
    if CELL_LABEL not in content.labels:
        is_base = BASE_LABEL in content.labels and len(content.layers) == 1
        return "dlimg, as a base" if is_base else "somebody else"
    if later_steps(content):
        return "somebody, on an image of dlimg"
    has_entry = any(ENTRY in word for word in (*content.entrypoint, *content.steps))
    return "dlimg" if has_entry else "somebody else"


def later_steps(content: ImageContent) -> tuple[str, ...]:
    """The steps that follow those of dlimg's own Dockerfile: somebody built on the image.

    That Dockerfile ends with its entry point and its command; an image that was assembled has
    the words for its layers in their place.
    """
    own = f"LABEL {UNTESTED_LABEL}="
    ends = [at for at, step in enumerate(content.steps) if _is_entry(step) or _is_layer(step)]
    if not ends:
        return ()  # no step tells where dlimg's own end
    following = content.steps[ends[-1] + 1 :]
    if _is_entry(content.steps[ends[-1]]) and following and following[0].startswith("CMD"):
        following = following[1:]
    return tuple(step for step in following if not step.startswith(own))


def _is_entry(step: str) -> bool:
    return step.startswith("ENTRYPOINT") and ENTRY in step


def _is_layer(step: str) -> bool:
    """Whether the step is one of the layers of an image that was assembled."""
    return step.startswith(HISTORY_PREFIXES)


def wheels_named(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Name and version of each wheel, as the label names them."""
    pairs = (word.partition("==") for word in labels.get(WHEELS_LABEL, "").split())
    return tuple((name, version) for name, _, version in pairs if version)


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says of how the image is started, as fields of `ImageContent`."""
    found = config.get("Labels")
    labels = found if isinstance(found, dict) else {}
    return {
        "user": str(config.get("User") or ""),
        "folder": str(config.get("WorkingDir") or ""),
        "entrypoint": texts(config.get("Entrypoint")),
        "command": texts(config.get("Cmd")),
        "labels": {str(name): str(text) for name, text in labels.items()},
    }


def texts(value: object) -> tuple[str, ...]:
    """A list of texts; nothing where it is none."""
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


def total(sizes: Sequence[int | None]) -> int | None:
    """The sum; nothing when a part is not known."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def key_of(content: ImageContent) -> str:
    """The content key, or an empty text for an image that was built without dlimg's command."""
    return content.labels.get(KEY_LABEL, "")
