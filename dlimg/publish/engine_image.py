"""An image in the container engine, and what it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import docker
import requests

from dlimg.engine.client import Engine, engine_errors
from dlimg.publish.image_content import ContentLayer, ImageContent, parse_start_settings, sum_sizes
from dlimg.publish.relabel import identity_of


@engine_errors()
def read_engine_image(engine: Engine, name: str) -> ImageContent | None:
    """Return the engine's image of this name, id or digest, or None."""
    try:
        image = engine.sdk.images.get(name)
        attributes: dict[str, Any] = image.attrs
        history: list[dict[str, Any]] = image.history()
    except (docker.errors.ImageNotFound, docker.errors.NullResource):
        return None
    except docker.errors.APIError as error:
        # An invalid name for the engine may be a valid one for a registry.
        if error.status_code == requests.codes.bad_request:
            return None
        raise
    steps = list(reversed(history))
    descriptor = attributes.get("Descriptor") or {}
    config_digest = (descriptor.get("annotations") or {}).get("config.digest", "")
    layers = _layers(attributes, steps)
    content = ImageContent(
        reference=name,
        source="engine",
        digest=str(image.id),
        digests=frozenset({str(image.id), config_digest} - {""}),
        platform=f"{attributes.get('Os', '')}/{attributes.get('Architecture', '')}",
        created=str(attributes.get("Created") or ""),
        layers=layers,
        steps=tuple(_step_text(step) for step in steps),
        # With the containerd store, `Size` is what a registry would send; else it is unpacked.
        compressed=int(attributes["Size"]) if descriptor else None,
        size=sum_sizes([layer.size for layer in layers]),
        **parse_start_settings(attributes.get("Config") or {}),
    )
    return replace(content, tested_digest=_tested_digest(engine, attributes, content))


def _tested_digest(engine: Engine, attributes: Mapping[str, Any], content: ImageContent) -> str:
    """Return the claimed digest if the engine has that image and its content is the same."""
    claimed = content.claimed_digest
    if not claimed:
        return ""
    try:
        tested = engine.sdk.images.get(claimed).attrs
    except docker.errors.APIError:
        return ""
    is_same = identity_of(tested) == identity_of(attributes)
    return claimed if tested["Id"] == claimed and is_same else ""


def registry_references(engine: Engine, content: ImageContent) -> tuple[str, ...]:
    """Return `host/name@digest` for each registry where the engine knows this image to be."""
    references = engine.sdk.images.get(content.digest).attrs.get("RepoDigests") or ()
    return tuple(str(reference) for reference in references)


def _layers(
    attributes: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]
) -> tuple[ContentLayer, ...]:
    """Return the layers, lowest first.

    Steps with a size made one layer each; if their number differs, layers have no step.
    """
    digests = [str(digest) for digest in (attributes.get("RootFS") or {}).get("Layers") or ()]
    sized = [step for step in steps if step.get("Size")]
    if len(sized) != len(digests):
        return tuple(ContentLayer(digest=digest, step="") for digest in digests)
    return tuple(
        ContentLayer(digest=digest, step=_step_text(step), size=int(step["Size"]))
        for digest, step in zip(digests, sized, strict=True)
    )


def _step_text(step: Mapping[str, Any]) -> str:
    return str(step.get("CreatedBy") or step.get("Comment") or "")
