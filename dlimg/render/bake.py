"""Planned images to bake files: the plan as `docker buildx bake` reads it, as data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dlimg.model import EMPTY_MAPPING, EPOCH, GZIP, BaseSource, Cell, Image, PlannedImage
from dlimg.render.content_key import ARCHITECTURE

# A plan of thousands of cells in one file takes long to read; a caller can run the files
# one after another.
TARGETS_PER_FILE: Final = 500

WHEELS_CONTEXT: Final = "wheels"
SYSTEM_STAGE: Final = "system"
LAST_STAGE: Final = "last"
KEY_LABEL: Final = "io.dlimg.key"
PACKAGES_LABEL: Final = "io.dlimg.packages"
BUILDER_LABEL: Final = "io.dlimg.builder"
BUILDER: Final = "buildkit"
BASE_DIGEST_LABEL: Final = "org.opencontainers.image.base.digest"
BASE_NAME_LABEL: Final = "org.opencontainers.image.base.name"


def target_name(cell: Cell) -> str:
    """The cell's id as a bake target, where only letters, digits, `_` and `-` are allowed."""
    return cell.id.replace(".", "_").replace("+", "_")


def bake_file(
    planned: Sequence[PlannedImage],
    secrets: Mapping[str, str] = EMPTY_MAPPING,
    wheels: Mapping[str, str] = EMPTY_MAPPING,
    arguments: Mapping[str, str] = EMPTY_MAPPING,
) -> dict[str, object]:
    """One bake file for these images, ready for `json.dumps`.

    `secrets` are files by secret id, `wheels` folders of local wheels by target name, and
    `arguments` build arguments that leave no trace in an image (the predefined proxy names).
    """
    targets = {
        target_name(one.image.cell): _target(one, secrets, wheels, arguments) for one in planned
    }
    return {"group": {"default": {"targets": list(targets)}}, "target": targets}


def bake_files(
    planned: Sequence[PlannedImage],
    secrets: Mapping[str, str] = EMPTY_MAPPING,
    wheels: Mapping[str, str] = EMPTY_MAPPING,
    arguments: Mapping[str, str] = EMPTY_MAPPING,
) -> tuple[dict[str, object], ...]:
    """As many bake files as needed, none with more than 500 targets."""
    return tuple(bake_file(part, secrets, wheels, arguments) for part in _parts(planned))


def stage_file(
    planned: PlannedImage,
    stage: str,
    output: str,
    *,
    secrets: Mapping[str, str],
    wheels: Mapping[str, str] = EMPTY_MAPPING,
    arguments: Mapping[str, str],
) -> dict[str, object]:
    """A bake file with one stage (the last one where none is named), which is a target's name.

    It is no image of a cell, and has neither its names nor its labels; where it goes is said in
    BuildKit's words.
    """
    target = _target(planned, secrets, wheels, arguments) | {"output": [_literal(output)]}
    if stage:
        target["target"] = stage
    del target["labels"], target["tags"]
    return {"target": {stage or LAST_STAGE: target}}


def labels(planned: PlannedImage, builder: str) -> dict[str, str]:
    """The image's labels with those that are known only when the base and the builder are.

    What the key and the packages are is left out while it is not known.
    """
    late = {KEY_LABEL: planned.key, PACKAGES_LABEL: planned.packages}
    return {
        **planned.image.labels,
        "io.dlimg.cell": planned.image.cell.id,
        **{name: value for name, value in late.items() if value},
        "io.dlimg.base": planned.base.identity,
        "io.dlimg.base-source": str(planned.base.source),
        BUILDER_LABEL: builder,
        **base_labels(planned),
    }


def base_labels(planned: PlannedImage) -> dict[str, str]:
    """OCI's name and digest of the base, where that is an image of a registry.

    A base made from the distribution's packages has neither: nobody could pull it by them.
    `io.dlimg.base` says what is in it.
    """
    if planned.base.source is not BaseSource.REGISTRY:
        return {}
    return {BASE_DIGEST_LABEL: planned.base.identity, BASE_NAME_LABEL: planned.image.cell.os.image}


def _parts(planned: Sequence[PlannedImage]) -> Iterator[Sequence[PlannedImage]]:
    for start in range(0, len(planned), TARGETS_PER_FILE):
        yield planned[start : start + TARGETS_PER_FILE]


def _target(
    planned: PlannedImage,
    secrets: Mapping[str, str],
    wheels: Mapping[str, str],
    arguments: Mapping[str, str],
) -> dict[str, object]:
    image = planned.image
    contexts = {name: _context(planned.base.reference) for name in _base_names(image)}
    folder = wheels.get(target_name(image.cell), "")
    if folder:
        contexts[WHEELS_CONTEXT] = folder
    return {
        "context": ".",
        "dockerfile-inline": _literal(image.dockerfile),
        "contexts": _literals(contexts),
        "args": _literals({"SOURCE_DATE_EPOCH": str(EPOCH), **arguments}),
        "labels": _literals(labels(planned, BUILDER)),
        "tags": list(filter(None, (planned.reference, planned.moving_reference))),
        "platforms": [ARCHITECTURE],
        "secret": [_literal(f"type=file,id={name},src={path}") for name, path in secrets.items()],
        "output": [_output(planned.compression)],
        # With an attestation the image becomes an index, whose digest is not the manifest's.
        "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
    }


def _output(compression: str) -> str:
    """Into the engine. What is not gzip has a media type that Docker's own manifests lack."""
    if compression == GZIP:
        return "type=docker"
    method, level = compression[:4], compression[4:]
    forced = f"compression={method},compression-level={level},force-compression=true"
    return f"type=docker,{forced},oci-mediatypes=true"


def _base_names(image: Image) -> tuple[str, ...]:
    """The names by which the Dockerfile calls its base; one with a digest is a name of its own."""
    name = image.cell.os.image
    words = [line.split() for line in image.dockerfile.splitlines() if line.startswith("FROM ")]
    found = {word for line in words for word in line[1:2] if word.partition("@")[0] == name}
    return tuple(sorted(found)) or (name,)


def _context(reference: str) -> str:
    """The base as a context that is an image and not a folder."""
    return reference if "://" in reference else f"docker-image://{reference}"


def _literal(text: str) -> str:
    """The text as bake must read it: a JSON bake file is a template to bake."""
    return text.replace("${", "$${").replace("%{", "%%{")


def _literals(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: _literal(text) for name, text in texts.items()}
