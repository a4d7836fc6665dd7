"""Images of dlimg's own matrix that a registry has: pulled, where the user names one."""

from collections.abc import Sequence
from typing import Final

import docker
import requests
from docker.models.images import Image as EngineImage

from dlimg.builders.builder import existing_images
from dlimg.engine.client import Engine
from dlimg.engine.ownership import record_build
from dlimg.model import PlannedImage
from dlimg.pipeline.user_config import FILE, REGISTRY, read_user_config
from dlimg.publish.policy import NOT_TESTED_ON_GPU, Standing
from dlimg.publish.tags import names_under
from dlimg.render.bake import KEY_LABEL

_STANDINGS: Final[tuple[Standing, ...]] = ("tested", NOT_TESTED_ON_GPU)


def pull_published(planned: Sequence[PlannedImage], engine: Engine) -> None:
    """Pull the images that the engine lacks from the user's registry, and log what was pulled.

    Without a registry, or if it lacks an image, only a message is logged.
    """
    context = engine.context
    present = existing_images(planned, engine)
    missing = [plan for plan in planned if plan.reference not in present]
    registry = read_user_config(context).registry
    if missing and not registry:
        context.log(
            f"nothing is pulled, because no registry is set ({REGISTRY} or {FILE}): "
            f"what is missing is built here"
        )
    for plan in missing if registry else ():
        try:
            name = pull_image(plan, engine, registry)
        except (docker.errors.APIError, requests.RequestException) as error:
            context.log(f"{registry} cannot be pulled from, images are built here: {error}")
            return
        context.log(
            f"{plan.image.cell.id}  pulled {name}"
            if name
            else f"{plan.image.cell.id}  is not at {registry}, it is built here"
        )


def pull_image(plan: PlannedImage, engine: Engine, registry: str) -> str:
    """Pull an image by its immutable name and return that name; empty if the registry has none.

    The image counts as built afterwards. Another image under the name, by its label with the
    content key, is not taken. Raises the errors of the engine.
    """
    for standing in _STANDINGS if plan.image.cell.is_cuda else _STANDINGS[:1]:
        names = names_under(registry, plan, standing)
        name = names.reference(names.tag)
        try:
            image: EngineImage = engine.sdk.images.pull(names.repository, tag=names.tag)
        except docker.errors.NotFound:
            continue
        if image.labels.get(KEY_LABEL) != plan.key:
            engine.context.log(f"{name} has another content key, and is not used")
            continue
        repository, tag = plan.image.repository, plan.reference.rpartition(":")[2]
        engine.sdk.api.tag(name, repository, tag)
        record_build(engine.context, plan.key, str(image.id))
        return name
    return ""
