"""The image of a run in the engine: found there, pulled, or built with a project's layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import docker

from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import BadInput, DlimgError, Negative, NetworkFailure
from dlimg.pipeline.run_layer import layered_image
from dlimg.pipeline.run_pull import is_published, name_of, pull
from dlimg.pipeline.user_config import FILE, REGISTRY
from dlimg.registry.reference import parse_reference
from dlimg.render.bake import KEY_LABEL
from dlimg.run.model import ImageChoice, RunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedImage:
    """An image in the engine: its name, its digest and its content key."""

    name: str
    digest: str
    key: str = ""
    entrypoint: tuple[str, ...] = ()
    user: str = ""


def locate_image(choice: ImageChoice, engine: Engine, context: Context) -> LocatedImage:
    """Return the image from the engine, or pull it. Raises Negative with a remedy."""
    if not choice.names:
        command = f"dlimg lock {choice.cell} && dlimg build {choice.cell}"
        raise Negative(f"{choice.cell} is not locked", hint=f"`{command}` makes it")
    first, *other_names = choice.names
    located = _in_engine(first, engine)
    if located:
        return located
    failure: DlimgError = _no_image(choice, engine)
    if parse_reference(first).host or not choice.cell:
        try:
            reason = pull(first, engine, context)
        except NetworkFailure as error:
            failure, reason = _with_build(error, choice, engine), ""
        located = _in_engine(first, engine)
        if located:
            return located
        if other_names and reason:
            context.log(f"{first} cannot be pulled: {reason}")
    return _next_best(other_names, failure, engine, context)


def _next_best(
    names: Sequence[str], failure: DlimgError, engine: Engine, context: Context
) -> LocatedImage:
    """Return the first of these images that the engine has, or that a registry has.

    Raises the `failure` of the best image without any; a registry that failed is not asked again.
    """
    located = next(filter(None, (_in_engine(name, engine) for name in names)), None)
    if isinstance(failure, NetworkFailure):
        if located is None:
            raise failure
        context.log(f"{failure.problems[0].message}; {located.name} is taken")
    if located is None:
        published = next((name for name in names if is_published(name, context)), "")
        if published:
            pull(published, engine, context)
            located = _in_engine(published, engine)
    if located is None:
        raise failure
    return located


def with_layer(
    request: RunRequest, image: LocatedImage, engine: Engine, context: Context
) -> LocatedImage:
    """Return the image with the project's packages and setup on top."""
    name = layered_image(request.layer, image.name, request.folder, engine, context)
    return _in_engine(name, engine) or image


def _with_build(error: NetworkFailure, choice: ImageChoice, engine: Engine) -> NetworkFailure:
    """Return the failure with the command that makes the image without a registry."""
    if not choice.cell or engine.ssh:
        return error
    problem = error.problems[0]
    hint = f"{problem.hint}; `dlimg build {choice.cell}` builds it here"
    return NetworkFailure(problem.message, hint=hint)


def _no_image(choice: ImageChoice, engine: Engine) -> Negative:
    if not choice.cell:
        hint = "check the name; `dlimg pick` lists tags, and a private one may need `docker login`"
        return Negative(f"there is no image {choice.names[0]}", where="--env", hint=hint)
    # An image that is built here is in the local engine only.
    command = f"publish {choice.cell} --to REGISTRY" if engine.ssh else f"build {choice.cell}"
    effect = "brings it to a registry" if engine.ssh else "builds it"
    hint = f"`dlimg {command}` {effect}; {REGISTRY} or {FILE} names a registry with it"
    registry = choice.names[0].rpartition("/")[0] if parse_reference(choice.names[0]).host else ""
    engine_name = name_of(engine)
    reason = f"neither {registry} nor {engine_name} has an" if registry else f"{engine_name} has no"
    return Negative(f"{reason} image of {choice.cell}", hint=hint)


def _in_engine(name: str, engine: Engine) -> LocatedImage | None:
    api: Any = engine.sdk.api
    try:
        attributes = api.inspect_image(name)
    except docker.errors.NotFound:
        return None
    except docker.errors.APIError as error:
        raise BadInput(
            f"{name!r} is no image's name: {error.explanation}", where="--env"
        ) from error
    digests = attributes.get("RepoDigests") or ()
    digest = next((text.partition("@")[2] for text in digests), attributes["Id"])
    config = attributes.get("Config") or {}
    return LocatedImage(
        name=name,
        digest=digest,
        key=(config.get("Labels") or {}).get(KEY_LABEL, ""),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        user=config.get("User") or "",
    )
