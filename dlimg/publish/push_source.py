"""What is published: a tested image in the store or in the engine, and how it gets out of it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex
from typing import Any

import docker
import requests
from docker.models.images import Image as EngineImage

from dlimg.engine.client import Engine, has_containerd_store
from dlimg.errors import NetworkFailure, NoEngine
from dlimg.host.local_state import file_lock, state_folder
from dlimg.model import BuiltImage
from dlimg.publish.names import UNTESTED_SUFFIX, PublishedNames
from dlimg.publish.policy import Standing
from dlimg.publish.push import delivered_text, send_image
from dlimg.publish.relabel import labelled, labelled_image, labels_of
from dlimg.registry.http import Repository
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.images import has_all_layers, load_image
from dlimg.store.store import Store

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSource:
    """An image that can be pushed; a registry knows it by the digest of its `manifest`.

    That is empty for one in the classic store of an engine, which knows its `config` alone.
    `push` gives the image its immutable name and tells the digest of the manifest that it sent;
    it says nothing of what is there afterwards.
    """

    manifest: str
    config: str
    labels: Mapping[str, str]
    push: Callable[[Repository, PublishedNames], str]

    @property
    def digest(self) -> str:
        """What this machine calls the image."""
        return self.manifest or self.config


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSources:
    """Where images may be: the store, and the engine; `siblings` are other repositories of ours.

    `say` hears how far a push is.
    """

    store: Store
    engine: Engine | None
    siblings: Sequence[str]
    say: Say


def in_store(built: BuiltImage, store: Store) -> AssembledImage | None:
    """The tested image where the store has all of it; then no engine is needed to publish it."""
    image = load_image(store, built.digest)
    return image if image and has_all_layers(store, image) else None


def digest_today(built: BuiltImage, stock: ImageSources) -> str:
    """What would be published now: the tested digest, or that of whatever took its name."""
    if in_store(built, stock.store):
        return built.digest
    image = _engine_image(built, _engine(stock))
    return str(image.id) if image else ""


@contextlib.contextmanager
def source_of(built: BuiltImage, stock: ImageSources, standing: Standing) -> Iterator[PushSource]:
    """The image to push; one that was not tested on a GPU says so itself.

    From the store it goes as it was assembled. Otherwise it is the engine's, and nothing of what
    is made for the push stays there.
    """
    image = in_store(built, stock.store)
    if image:
        one = image if standing == "tested" else labelled_image(image, built.digest)
        yield _stored(one, stock)
        return
    engine = _engine(stock)
    tested = engine.sdk.images.get(built.planned.reference)
    if standing == "tested":
        yield _engines(tested, engine, stock.say)
        return
    # Another dlimg may publish the same image from the same engine.
    name = f"{built.planned.reference}{UNTESTED_SUFFIX}-{token_hex(4)}"
    try:
        yield _engines(labelled(built, tested, engine, name), engine, stock.say)
    finally:
        with contextlib.suppress(docker.errors.APIError):
            engine.sdk.images.remove(name)


def _stored(image: AssembledImage, stock: ImageSources) -> PushSource:
    def push(repository: Repository, names: PublishedNames) -> str:
        others = [one for one in stock.siblings if one != repository.name]
        found = send_image(
            repository, names.tag, image, stock.store, siblings=others, say=stock.say
        )
        stock.say(f"{repository}: {delivered_text(found)}")
        return image.digest

    return PushSource(
        manifest=image.digest,
        config=image.config_digest,
        labels=labels_of(image),
        push=push,
    )


def _engines(image: EngineImage, engine: Engine, say: Say) -> PushSource:
    own = str(image.id)
    has_manifest = has_containerd_store(engine)

    def push(_repository: Repository, names: PublishedNames) -> str:
        told = _push_by_engine(engine, image, names, say)
        return own if has_manifest else told

    return PushSource(
        manifest=own if has_manifest else "",
        config="" if has_manifest else own,
        labels=image.labels,
        push=push,
    )


def _engine(stock: ImageSources) -> Engine:
    if stock.engine is None:
        raise NoEngine("the store does not have the image any more, and there is no engine")
    return stock.engine


def _engine_image(built: BuiltImage, engine: Engine) -> EngineImage | None:
    try:
        return engine.sdk.images.get(built.planned.reference)
    except docker.errors.ImageNotFound:
        return None


def _push_by_engine(engine: Engine, image: EngineImage, names: PublishedNames, say: Say) -> str:
    """The digest of the manifest that was pushed, which the classic store's push tells.

    Raises `NetworkFailure` on a refusal.
    """
    reference = names.reference(names.tag)
    digest = ""
    with _named(engine, image, names, say):
        try:
            for event in _push_events(engine, names):
                if "error" in event:
                    raise NetworkFailure(
                        f"{reference} was not taken: {event['error']}",
                        hint="check the address, the network and `docker login`",
                    )
                digest = (event.get("aux") or {}).get("Digest") or digest
        except (docker.errors.APIError, requests.RequestException) as error:
            raise NetworkFailure(f"{reference} was not pushed: {error}") from error
    return digest


def _push_events(engine: Engine, names: PublishedNames) -> Iterator[dict[str, Any]]:
    api: Any = engine.sdk.api
    yield from api.push(names.repository, tag=names.tag, stream=True, decode=True)


@contextlib.contextmanager
def _named(engine: Engine, image: EngineImage, names: PublishedNames, say: Say) -> Iterator[None]:
    """The image under the registry's name while it is pushed; not a moment longer.

    One process at a time: another would take the name away in the middle of a push.
    """
    reference = names.reference(names.tag)
    file = (
        state_folder(engine.environment)
        / "turns"
        / f"push-{sha256(reference.encode()).hexdigest()}"
    )
    with file_lock(file, doing=f"pushing {reference}", say=say):
        was_there = reference in engine.sdk.images.get(str(image.id)).tags
        try:
            image.tag(names.repository, names.tag)
            yield
        finally:
            if not was_there:
                with contextlib.suppress(docker.errors.APIError):
                    engine.sdk.images.remove(reference, noprune=True)
