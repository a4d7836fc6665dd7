"""An image in the container engine, as what it is made of."""

from dataclasses import replace
from typing import Any

import docker
import requests

from dlimg.engine.client import Engine, engine_errors
from dlimg.publish.image_content import ContentLayer, ImageContent, settings, total
from dlimg.publish.relabel import content as made_of


@engine_errors()
def content_in(engine: Engine, name: str) -> ImageContent | None:
    """The engine's image of this name, id or digest; nothing where it has none."""
    try:
        image = engine.sdk.images.get(name)
        attributes: dict[str, Any] = image.attrs
        history: list[dict[str, Any]] = image.history()
    except (docker.errors.ImageNotFound, docker.errors.NullResource):
        return None
    except docker.errors.APIError as error:
        # What is no name for the engine may be one for a registry.
        if error.status_code == requests.codes.bad_request:
            return None
        raise
    steps = list(reversed(history))
    descriptor = attributes.get("Descriptor") or {}
    config_digest = (descriptor.get("annotations") or {}).get("config.digest", "")
    layers = _layers(attributes, steps)
    found = ImageContent(
        reference=name,
        source="engine",
        digest=str(image.id),
        same=frozenset({str(image.id), config_digest} - {""}),
        platform=f"{attributes.get('Os', '')}/{attributes.get('Architecture', '')}",
        created=str(attributes.get("Created") or ""),
        layers=layers,
        steps=tuple(_words(step) for step in steps),
        # With containerd's store this is what the registry would send; else it is unpacked.
        compressed=int(attributes["Size"]) if descriptor else None,
        size=total([layer.size for layer in layers]),
        **settings(attributes.get("Config") or {}),
    )
    return replace(found, tested=_tested(engine, attributes, found.claimed))


def _tested(engine: Engine, attributes: dict[str, Any], claimed: str) -> str:
    """The digest of the tested image, where the engine has that one and it is the same."""
    if not claimed:
        return ""
    try:
        tested = engine.sdk.images.get(claimed).attrs
    except (docker.errors.ImageNotFound, docker.errors.APIError):
        return ""
    return claimed if tested["Id"] == claimed and made_of(tested) == made_of(attributes) else ""


def names_at_registries(engine: Engine, content: ImageContent) -> tuple[str, ...]:
    """`host/name@digest` for each place where the engine knows this image to be."""
    found = engine.sdk.images.get(content.digest).attrs.get("RepoDigests") or ()
    return tuple(str(one) for one in found)


def _layers(attributes: dict[str, Any], steps: list[dict[str, Any]]) -> tuple[ContentLayer, ...]:
    """The layers, lowest first; a step with a size made one, as long as the numbers agree."""
    digests = [str(one) for one in (attributes.get("RootFS") or {}).get("Layers") or ()]
    filled = [step for step in steps if step.get("Size")]
    if len(filled) != len(digests):
        return tuple(ContentLayer(digest=digest, step="") for digest in digests)
    return tuple(
        ContentLayer(digest=digest, step=_words(step), size=int(step["Size"]))
        for digest, step in zip(digests, filled, strict=True)
    )


def _words(step: dict[str, Any]) -> str:
    return str(step.get("CreatedBy") or step.get("Comment") or "")
