"""A registry, spoken to through the engine: its network, its proxies, its credentials."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import docker
import requests
from docker.models.images import Image as EngineImage

from dlimg.engine.client import Engine
from dlimg.engine.process import run
from dlimg.errors import NetworkFailure


def digest_at(engine: Engine, reference: str) -> str:
    """The digest that the registry has under this name, or an empty text.

    Raises `NetworkFailure` when the registry does not answer.
    """
    try:
        api: Any = engine.sdk.api
        found = api.inspect_distribution(reference)
    except docker.errors.APIError as error:
        # Many registries say "denied" for a repository that is not there yet; one that
        # really denies says it again at the push.
        if error.status_code in (401, 403, 404):
            return ""
        raise NetworkFailure(
            f"the registry does not answer for {reference}: {error.explanation}",
            hint="check the address and the network; private ones want a `docker login`",
        ) from error
    except requests.RequestException as error:
        raise NetworkFailure(f"the engine does not answer for {reference}: {error}") from error
    return str(found["Descriptor"]["digest"])


def push(engine: Engine, image: EngineImage, repository: str, tag: str) -> str:
    """Give the image this name at the registry; the digest that the registry then has.

    Raises `NetworkFailure` when the registry refuses, or does not have the name afterwards.
    """
    with _named(engine, image, repository, tag):
        try:
            for event in _push_events(engine, repository, tag):
                if "error" in event:
                    raise NetworkFailure(
                        f"{repository}:{tag} was not taken: {event['error']}",
                        hint="check the address, the network and `docker login`",
                    )
        except (docker.errors.APIError, requests.RequestException) as error:
            raise NetworkFailure(f"{repository}:{tag} was not pushed: {error}") from error
        digest = digest_at(engine, f"{repository}:{tag}")
        if not is_same(engine, image, repository, digest):
            raise NetworkFailure(
                f"{repository}:{tag} is {digest or 'not there'} at the registry after the push",
                hint="someone else may be pushing to this name; try again",
            )
    return digest


def is_same(engine: Engine, image: EngineImage, repository: str, digest: str) -> bool:
    """Whether the manifest with this digest at the registry is this image.

    In containerd's store an image's id is its manifest's digest; elsewhere it is the digest of
    the configuration, which the manifest names.
    """
    image.reload()
    if not digest or digest == image.id:
        return bool(digest)
    if f"{repository}@{digest}" in (image.attrs.get("RepoDigests") or ()):
        return True
    manifest = _inspected(engine, f"{repository}@{digest}", "--raw")
    config = manifest.get("config") or {}
    return bool(config) and config.get("digest") == image.id


@contextlib.contextmanager
def at_hand(
    engine: Engine, image: EngineImage, repository: str, digest: str
) -> Iterator[EngineImage]:
    """The image with this digest: the given one where it is that, or else pulled for the while.

    Raises `NetworkFailure` when it cannot be pulled.
    """
    if is_same(engine, image, repository, digest):
        yield image
        return
    try:
        pulled = engine.sdk.images.pull(repository, tag=digest)
    except docker.errors.APIError as error:
        raise NetworkFailure(f"{repository}@{digest} was not pulled: {error}") from error
    try:
        yield pulled
    finally:
        with contextlib.suppress(docker.errors.APIError):
            engine.sdk.images.remove(f"{repository}@{digest}")


def labels_at(engine: Engine, reference: str) -> Mapping[str, str]:
    """The labels of an image at the registry; empty where they cannot be read."""
    return parse_labels(_inspected(engine, reference, "--format={{json .Image}}"))


def parse_labels(about: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels in an image's configuration; an index has one for each platform, so none."""
    config = about.get("config")
    labels = config.get("Labels") if isinstance(config, dict) else None
    return labels if isinstance(labels, dict) else {}


def _push_events(engine: Engine, repository: str, tag: str) -> Iterator[dict[str, Any]]:
    api: Any = engine.sdk.api
    yield from api.push(repository, tag=tag, stream=True, decode=True)


@contextlib.contextmanager
def _named(engine: Engine, image: EngineImage, repository: str, tag: str) -> Iterator[None]:
    """The image under the registry's name while it is pushed; not a moment longer."""
    reference = f"{repository}:{tag}"
    was_there = reference in image.tags
    try:
        image.tag(repository, tag)
        yield
    finally:
        if not was_there:
            with contextlib.suppress(docker.errors.APIError):
                engine.sdk.images.remove(reference, noprune=True)


def _inspected(engine: Engine, reference: str, option: str) -> dict[str, Any]:
    """What the registry holds under a name, as JSON; empty where it cannot be read."""
    argv = [str(engine.docker), "buildx", "imagetools", "inspect", option, reference]
    outcome = run(argv, env=engine.environment, timeout=120)
    try:
        found = json.loads(outcome.stdout)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
