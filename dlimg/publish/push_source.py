"""Sources of a push: the layer store or the engine."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_hex
from typing import Any, Final

import docker
import requests
from docker.models.images import Image as EngineImage

from dlimg.engine.client import Engine, has_containerd_store
from dlimg.errors import NetworkFailure, NoEngine
from dlimg.host.file_lock import file_lock
from dlimg.model import BuiltImage
from dlimg.publish.policy import Standing
from dlimg.publish.push import ZSTD_HINT, push_image, push_summary_text
from dlimg.publish.relabel import label_assembled_image, label_engine_image, labels_of
from dlimg.publish.tags import UNTESTED_SUFFIX, PublishedNames
from dlimg.registry.http import Repository
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.images import has_all_layers, load_image
from dlimg.store.store import Store

# Registries' and engines' errors for a manifest that is not accepted.
_INVALID: Final = re.compile(r"manifest.*(invalid|unknown|unsupported)|media ?type", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSources:
    """The places that may have an image: the store and, if there is one, the engine.

    `siblings` are repositories of the same registry whose layers may be mounted; `log` shows the
    progress of a push.
    """

    store: Store
    engine: Engine | None
    siblings: Sequence[str]
    log: Callable[[str], None] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSource:
    """An image that can be pushed: an assembled one of the store, or one of an engine.

    `manifest` is the digest that a registry will have for it. An engine with the classic store
    does not know that; then it is empty, and only the digest of the `config` is known.
    """

    manifest: str
    config: str
    labels: Mapping[str, str]
    image: AssembledImage | EngineImage

    @property
    def digest(self) -> str:
        """The digest by which this machine knows the image."""
        return self.manifest or self.config


def find_in_store(built: BuiltImage, store: Store) -> AssembledImage | None:
    """Return the image if the store has all of it, and so needs no engine to be published."""
    image = load_image(store, built.digest)
    return image if image and has_all_layers(store, image) else None


def current_digest(built: BuiltImage, sources: ImageSources) -> str:
    """Return the digest that would be published now; empty if the image is gone.

    It differs from the built image's if another image has taken its name in the engine.
    """
    if find_in_store(built, sources.store):
        return built.digest
    try:
        image = _require_engine(sources).sdk.images.get(built.planned.reference)
    except docker.errors.ImageNotFound:
        return ""
    return str(image.id)


@contextlib.contextmanager
def open_source(
    built: BuiltImage, sources: ImageSources, standing: Standing
) -> Iterator[PushSource]:
    """Yield the image to push; if it was not tested on a GPU, labels are added that say so.

    An assembled image comes from the store, any other from the engine. The labelled image is
    removed from the engine afterwards.
    """
    image = find_in_store(built, sources.store)
    if image:
        if standing != "tested":
            image = label_assembled_image(image, built.digest)
        yield _store_source(image)
        return
    engine = _require_engine(sources)
    tested = engine.sdk.images.get(built.planned.reference)
    if standing == "tested":
        yield _engine_source(tested, engine)
        return
    # The name is random: another process may publish the same image from the same engine.
    name = f"{built.planned.reference}{UNTESTED_SUFFIX}-{token_hex(4)}"
    try:
        yield _engine_source(label_engine_image(built, tested, engine, name), engine)
    finally:
        with contextlib.suppress(docker.errors.APIError):
            engine.sdk.images.remove(name)


def _store_source(image: AssembledImage) -> PushSource:
    return PushSource(
        manifest=image.digest,
        config=image.config_digest,
        labels=labels_of(image),
        image=image,
    )


def _engine_source(image: EngineImage, engine: Engine) -> PushSource:
    has_manifest = has_containerd_store(engine)
    return PushSource(
        manifest=str(image.id) if has_manifest else "",
        config="" if has_manifest else str(image.id),
        labels=image.labels,
        image=image,
    )


def push(
    source: PushSource, sources: ImageSources, repository: Repository, names: PublishedNames
) -> str:
    """Push the image under its immutable name and return the digest of the manifest sent.

    Does not read it back. Raises `NetworkFailure` when the registry refuses it.
    """
    if isinstance(source.image, AssembledImage):
        siblings = [name for name in sources.siblings if name != repository.name]
        summary = push_image(
            repository,
            names.tag,
            source.image,
            sources.store,
            siblings=siblings,
            log=sources.log,
        )
        sources.log(f"{repository}: {push_summary_text(summary)}")
        return source.manifest
    digest = _push_by_engine(_require_engine(sources), source.image, names, sources.log)
    return source.manifest or digest


def _require_engine(sources: ImageSources) -> Engine:
    if sources.engine is None:
        raise NoEngine("the store does not have the image any more, and there is no engine")
    return sources.engine


def _push_by_engine(
    engine: Engine, image: EngineImage, names: PublishedNames, log: Callable[[str], None]
) -> str:
    """Push from the engine and return the manifest digest that it reports.

    Raises `NetworkFailure` when the registry refuses it.
    """
    reference = names.reference(names.tag)
    digest = ""
    with _tagged(engine, image, names, log):
        try:
            for event in _push_events(engine, names):
                if "error" in event:
                    hint = "check the address, the network and `docker login`"
                    if _INVALID.search(str(event["error"])):
                        hint = ZSTD_HINT
                    raise NetworkFailure(f"{reference} was not taken: {event['error']}", hint=hint)
                digest = (event.get("aux") or {}).get("Digest") or digest
        except (docker.errors.APIError, requests.RequestException) as error:
            raise NetworkFailure(f"{reference} was not pushed: {error}") from error
    return digest


def _push_events(engine: Engine, names: PublishedNames) -> Iterator[dict[str, Any]]:
    api: Any = engine.sdk.api
    yield from api.push(names.repository, tag=names.tag, stream=True, decode=True)


@contextlib.contextmanager
def _tagged(
    engine: Engine, image: EngineImage, names: PublishedNames, log: Callable[[str], None]
) -> Iterator[None]:
    """Give the engine's image its registry name during the push.

    One process at a time: another would remove the name in the middle of a push.
    """
    reference = names.reference(names.tag)
    file = engine.context.state / "turns" / f"push-{sha256(reference.encode()).hexdigest()}"
    with file_lock(file, doing=f"pushing {reference}", log=log):
        was_tagged = reference in engine.sdk.images.get(str(image.id)).tags
        try:
            image.tag(names.repository, names.tag)
            yield
        finally:
            if not was_tagged:
                with contextlib.suppress(docker.errors.APIError):
                    engine.sdk.images.remove(reference, noprune=True)
