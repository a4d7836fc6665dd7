"""Planned images to bake files: the plan as `docker buildx bake` reads it, as data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dlimg.model import EMPTY_MAPPING, EPOCH, GZIP, BaseSource, Cell, Image, PlannedImage

# bake reads files with thousands of targets slowly; callers run several files in turn.
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
    """Return the cell's id as a bake target: letters, digits, `_` and `-` only."""
    return cell.id.replace(".", "_").replace("+", "_")


def bake_file(
    planned: Sequence[PlannedImage],
    secrets: Mapping[str, str] = EMPTY_MAPPING,
    wheels: Mapping[str, str] = EMPTY_MAPPING,
    arguments: Mapping[str, str] = EMPTY_MAPPING,
) -> dict[str, object]:
    """Return one bake file for these images, ready for `json.dumps`.

    `secrets` are files by secret id, `wheels` folders of local wheels by target name, and
    `arguments` build arguments that leave no trace in an image (the predefined proxy names).
    """
    targets = {
        target_name(entry.image.cell): _target(entry, secrets, wheels, arguments)
        for entry in planned
    }
    return {"group": {"default": {"targets": list(targets)}}, "target": targets}


def bake_files(
    planned: Sequence[PlannedImage],
    secrets: Mapping[str, str] = EMPTY_MAPPING,
    wheels: Mapping[str, str] = EMPTY_MAPPING,
    arguments: Mapping[str, str] = EMPTY_MAPPING,
) -> tuple[dict[str, object], ...]:
    """Return bake files for these images, none with more than 500 targets."""
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
    """Return a bake file with one stage, which names the target; without a name the last stage.

    The result has neither tags nor labels of the cell. `output` is BuildKit's option of that name.
    """
    target = _target(planned, secrets, wheels, arguments) | {"output": [_literal(output)]}
    if stage:
        target["target"] = stage
    del target["labels"], target["tags"]
    return {"target": {stage or LAST_STAGE: target}}


def final_labels(planned: PlannedImage, builder: str) -> dict[str, str]:
    """Return the image's labels with those of the base, the key and the builder.

    Key and packages are left out while they are unknown.
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
    """Return OCI's labels for name and digest of a base from a registry.

    A bootstrapped base has none, as it cannot be pulled; `io.dlimg.base` identifies it.
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
        "labels": _literals(final_labels(planned, BUILDER)),
        "tags": list(filter(None, (planned.reference, planned.moving_reference))),
        "platforms": [image.cell.oci_platform],
        "secret": [_literal(f"type=file,id={name},src={path}") for name, path in secrets.items()],
        "output": [engine_output(planned)],
        # With an attestation the image becomes an index, whose digest is not the manifest's.
        "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
    }


def engine_output(planned: PlannedImage) -> str:
    """Return BuildKit's output into the engine; other than gzip needs OCI's media types.

    Compression is forced, because BuildKit may have cached steps in another one. With zstd it is
    not where the base is a registry's, whose layers stay as they are.
    """
    if planned.compression == GZIP:
        return "type=docker,compression=gzip,force-compression=true"
    method, level = planned.compression[:4], planned.compression[4:]
    is_forced = planned.base.source is not BaseSource.REGISTRY
    force = ",force-compression=true" if is_forced else ""
    compression = f"compression={method},compression-level={level}{force}"
    return f"type=docker,{compression},oci-mediatypes=true"


def _base_names(image: Image) -> tuple[str, ...]:
    """Return the names of the base in the Dockerfile; one with a digest is another name."""
    name = image.cell.os.image
    froms = [line.split() for line in image.dockerfile.splitlines() if line.startswith("FROM ")]
    names = {base for line in froms for base in line[1:2] if base.partition("@")[0] == name}
    return tuple(sorted(names)) or (name,)


def _context(reference: str) -> str:
    """Return the base as a context that is an image, not a folder."""
    return reference if "://" in reference else f"docker-image://{reference}"


def _literal(text: str) -> str:
    """Escape a text for bake, which expands `${` and `%{` in JSON files."""
    return text.replace("${", "$${").replace("%{", "%%{")


def _literals(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: _literal(text) for name, text in texts.items()}
