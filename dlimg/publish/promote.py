"""Publishing, in the one order of design.md D7: what was tested goes first, what moves last."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dlimg.engine.client import engine_errors
from dlimg.errors import Negative, NetworkFailure
from dlimg.host.interrupt import interruptible
from dlimg.model import BuiltImage, Evidence
from dlimg.publish.attach import Attach
from dlimg.publish.check_runner import CheckRunner
from dlimg.publish.existing_image import Other, tested_other
from dlimg.publish.manifest_identity import holds_what_it_says, is_noted, note_manifest
from dlimg.publish.names import UNTESTED_SUFFIX, PublishedNames, names_at
from dlimg.publish.policy import NOT_TESTED_ON_GPU, Require, Standing, admit
from dlimg.publish.push_source import ImageSources, PushSource, digest_today, source_of
from dlimg.publish.tags import Place, contents_of, image_at, move, named
from dlimg.registry.blobs import missing_blobs, require_blobs
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import Descriptor, Manifest, parse_descriptor, read_manifest
from dlimg.registry.reference import DOCKER_HUB, parse_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedImage:
    """An image at a registry: its immutable name, and the names that now lead to it.

    `is_other` when that name was another image's than the one built here; it was tested here.
    """

    cell: str
    reference: str
    digest: str
    moved: tuple[str, ...]
    standing: Standing
    is_other: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """Where to publish, what an image must have proved, and what lays that beside it.

    `environment` has the way to registries: proxies, certificates, docker's logins. `notes` is
    a folder for what this machine knows of manifests.
    """

    to: str
    require: Require
    attach: Attach
    environment: Mapping[str, str]
    runner: CheckRunner
    notes: Path


@engine_errors()
def publish(
    built: BuiltImage,
    evidence: Evidence,
    stock: ImageSources,
    *,
    wanted: PublishRequest,
    say: Callable[[str], None],
) -> PublishedImage:
    """The image at the registry, every name of it read back.

    The immutable name first, then the evidence beside it, then the full tag, then the aliases;
    none moves before the digest under the immutable name was read back and all its contents were
    found there, nor to an image whose evidence is not there. Names lead only to a digest that was
    tested on this machine: where the immutable name is another one already, that one is pulled
    and tested, and the one that was built here is not pushed. What is there as it should be is
    not written again. Raises `Negative` for an image that may not be published or whose immutable
    name is taken, `NotRun` when required checks were not run, and `NetworkFailure`.
    """
    checks = wanted.runner.checks(built)
    digest = digest_today(built, stock)
    standing = admit(built, evidence, digest=digest, require=wanted.require, checks=checks)
    names = names_at(wanted.to, built.planned, standing)
    cell = built.planned.image.cell.id
    if standing == NOT_TESTED_ON_GPU:
        say(f"{cell}: {NOT_TESTED_ON_GPU}; published with that label")
    with interruptible(), _place(names, wanted, say) as place:
        if standing == NOT_TESTED_ON_GPU:
            _refuse_to_replace_tested(place)
        with source_of(built, stock, standing) as source:
            image = _image(place, source)
            proved = built, evidence
            if not _is_source(place, image, source):
                other = Other(
                    place=place,
                    manifest=image,
                    built=built,
                    source=source,
                    standing=standing,
                    require=wanted.require,
                )
                proved = tested_other(other, wanted.runner, stock)
        _attach(*proved, wanted.attach, names, image.digest)
        for tag in names.moving:
            verb = "is now" if move(place.repository, tag, image) else "is"
            say(f"{cell}: {names.reference(tag)} {verb} {image.digest}")
    return PublishedImage(
        cell=cell,
        reference=names.reference(names.tag),
        digest=image.digest,
        moved=tuple(names.reference(tag) for tag in names.moving),
        standing=standing,
        is_other=proved[0] is not built,
    )


@contextlib.contextmanager
def _place(
    names: PublishedNames, wanted: PublishRequest, say: Callable[[str], None]
) -> Iterator[Place]:
    at = parse_reference(names.reference(names.tag))
    with open_registry(at.host or DOCKER_HUB, wanted.environment) as registry:
        repository = Repository(registry=registry, name=at.name)
        yield Place(repository=repository, names=names, notes=wanted.notes, say=say)


def _refuse_to_replace_tested(place: Place) -> None:
    better = place.names.tag.removesuffix(UNTESTED_SUFFIX)
    if named(place.repository, better):
        raise Negative(
            f"{place.names.reference(better)} is there and was tested on a GPU; names would move "
            "to a lesser image",
            hint="publish without --require no-gpu, where a GPU is",
        )


def _image(place: Place, source: PushSource) -> Manifest:
    """What the immutable name leads to: the source's image with all its contents, or another."""
    there = named(place.repository, place.names.tag)
    if there is None:
        return _pushed(place, source)
    if not _is_source(place, there, source):
        return there
    missing = [f"{one.digest} ({one.size:,} bytes)" for one in _lost(place.repository, there)]
    if not missing:
        place.say(f"{place.reference} is {there.digest} already, with all its contents")
        return there
    place.say(
        f"{place.reference} is {there.digest} already, but the registry lacks {len(missing)} of "
        f"its contents, which are sent again: {', '.join(missing)}"
    )
    return _pushed(place, source)


def _lost(repository: Repository, there: Manifest) -> tuple[Descriptor, ...]:
    """What the registry has no more of this image, which it has a name for.

    An engine asks for the manifest by its digest when it knows that from the name.
    """
    is_there = read_manifest(repository, there.digest) is not None
    missing = missing_blobs(repository, contents_of(there))
    return missing if is_there else (there.descriptor, *missing)


def _is_source(place: Place, there: Manifest, source: PushSource) -> bool:
    """Whether this manifest is the source's image, by digests alone."""
    if source.manifest:
        return there.digest == source.manifest
    config = parse_descriptor(there.content.get("config"))
    if config is None or config.digest != source.config:
        return False
    if not is_noted(place.notes, there):
        if not holds_what_it_says(place.repository, there):
            return False
        note_manifest(place.notes, there.digest, config.digest)
    return True


def _pushed(place: Place, source: PushSource) -> Manifest:
    """The image as it was read back after the push, with all its contents."""
    sent = source.push(place.repository, place.names)
    image = image_at(place.repository, place.names.tag)
    if image.digest != sent:
        raise NetworkFailure(
            f"{place.reference} is {image.digest} at the registry after the push of {sent}",
            hint="someone else may be pushing to this name; try again",
        )
    require_blobs(place.repository, contents_of(image))
    image_at(place.repository, image.digest)
    if not source.manifest:
        note_manifest(place.notes, image.digest, source.config)
    return image


def _attach(
    built: BuiltImage, evidence: Evidence, attach: Attach, names: PublishedNames, digest: str
) -> None:
    """Lay the evidence beside the image, before any name leads to it."""
    try:
        attach(built, evidence, f"{names.repository}@{digest}")
    except NetworkFailure as error:
        first = error.problems[0]
        hint = f"{first.hint}; " if first.hint else ""
        raise NetworkFailure(
            f"{names.reference(names.tag)} is published, its evidence is not beside it, and no "
            f"other name was moved: {first.message}",
            hint=f"{hint}--no-evidence publishes without",
        ) from error
