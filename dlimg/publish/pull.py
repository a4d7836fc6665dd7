"""An image of a registry in the engine, for as long as it is tested."""

import contextlib
from collections.abc import Iterator

import docker
import requests

from dlimg.engine.client import Engine, plainly
from dlimg.errors import Negative, NetworkFailure
from dlimg.publish.tags import ids_of
from dlimg.registry.manifests import Manifest


@contextlib.contextmanager
def pulled(engine: Engine, repository: str, manifest: Manifest) -> Iterator[str]:
    """The engine's id of the image with this manifest; gone again if it was not there before.

    Raises `NetworkFailure` when the engine does not get it, `Negative` when it gets another.
    """
    reference = f"{repository}@{manifest.digest}"
    was_there = _has(engine, reference)
    try:
        yield _pull(engine, repository, manifest)
    finally:
        if not was_there:
            with contextlib.suppress(docker.errors.DockerException, requests.RequestException):
                engine.sdk.images.remove(reference)


def _pull(engine: Engine, repository: str, manifest: Manifest) -> str:
    reference = f"{repository}@{manifest.digest}"
    try:
        found = str(engine.sdk.images.pull(repository, tag=manifest.digest).id)
    except (docker.errors.APIError, requests.RequestException) as error:
        said = error.explanation if isinstance(error, docker.errors.APIError) else None
        raise NetworkFailure(
            f"the engine cannot pull {reference}: {said or plainly(error)}",
            hint="check the network and `docker login`; an image that nobody can pull has to be "
            "taken away at the registry",
        ) from error
    if found not in ids_of(manifest):
        raise Negative(f"the engine pulled {reference} and has {found}")
    return found


def _has(engine: Engine, reference: str) -> bool:
    try:
        engine.sdk.images.get(reference)
    except docker.errors.ImageNotFound:
        return False
    return True
