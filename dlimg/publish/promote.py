"""Publishing, in the one order of design.md D7: what was tested goes first, what moves last."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from dlimg.build.interrupt import terminable
from dlimg.draw.bake import KEY_LABEL
from dlimg.engine.client import answering
from dlimg.errors import Negative, NetworkFailure
from dlimg.model import Built
from dlimg.proof import Evidence
from dlimg.publish.admit import NOT_TESTED_ON_GPU, Require, admit
from dlimg.publish.attach import Attach
from dlimg.publish.derive import LABEL
from dlimg.publish.names import UNTESTED_SUFFIX, Names, names_at
from dlimg.publish.published import Published
from dlimg.publish.registry import digest_at, ids_of, image_at, labels_of, move
from dlimg.publish.source import Source, Stock, digest_today, source_of
from dlimg.registry.manifests import Manifest
from dlimg.registry.reference import DOCKER_HUB, parse_reference
from dlimg.registry.session import Repository, opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where to publish, what an image must have proved, and what lays that beside it.

    `environment` has the way to registries: proxies, certificates, docker's logins.
    """

    to: str
    require: Require
    attach: Attach
    environment: Mapping[str, str]


@answering()
def publish(
    built: Built,
    evidence: Evidence | None,
    stock: Stock,
    *,
    wanted: Wanted,
    say: Callable[[str], None],
) -> Published:
    """The image at the registry, every name of it read back.

    The immutable name first, then the evidence beside it, then the full tag, then the aliases;
    none moves before the digest under the immutable name was read back, nor to an image whose
    evidence is not there. An image that is there already is not pushed again,
    and neither is one that was built elsewhere from the same content key: then the names lead to
    that one. Raises `Negative` for an image that may not be published or whose immutable name is
    taken, `NotRun` when required checks were not run, and `NetworkFailure`.
    """
    digest = digest_today(built, stock)
    standing = admit(built, evidence, digest=digest, require=wanted.require)
    names = names_at(wanted.to, built.planned, standing)
    cell = built.planned.image.cell.id
    if standing == NOT_TESTED_ON_GPU:
        say(f"{cell}: {NOT_TESTED_ON_GPU}; published with that label")
    with terminable(), _repository(names, wanted.environment) as repository:
        if standing == NOT_TESTED_ON_GPU:
            _refuse_to_replace_tested(repository, names)
        with source_of(built, stock, standing) as source:
            image = _immutable(repository, source, names, say)
        if evidence and ids_of(image) & source.ids:
            _attach(built, evidence, wanted.attach, names, image.digest)
        for tag in names.moving:
            move(repository, tag, image)
            say(f"{cell}: {names.reference(tag)} is {image.digest}")
    return Published(
        cell=cell,
        reference=names.reference(names.tag),
        digest=image.digest,
        moved=tuple(names.reference(tag) for tag in names.moving),
        standing=standing,
    )


@contextlib.contextmanager
def _repository(names: Names, environment: Mapping[str, str]) -> Iterator[Repository]:
    place = parse_reference(names.reference(names.tag))
    with opened(place.host or DOCKER_HUB, environment) as registry:
        yield Repository(registry=registry, name=place.name)


def _refuse_to_replace_tested(repository: Repository, names: Names) -> None:
    better = names.tag.removesuffix(UNTESTED_SUFFIX)
    if digest_at(repository, better):
        raise Negative(
            f"{names.reference(better)} is there and was tested on a GPU; names would move to a "
            "lesser image",
            hint="publish without --require no-gpu, where a GPU is",
        )


def _immutable(
    repository: Repository, source: Source, names: Names, say: Callable[[str], None]
) -> Manifest:
    """The image under the immutable name, which then is there."""
    reference = names.reference(names.tag)
    there = digest_at(repository, names.tag)
    if not there:
        return _pushed(repository, source, names)
    image = image_at(repository, there)
    if ids_of(image) & source.ids:
        return image
    if _content(labels_of(repository, image)) != _content(source.labels):
        raise Negative(
            f"{reference} is immutable and is {there} already, not {source.digest}",
            where=source.labels.get("io.dlimg.cell", ""),
            hint="publish to another place, or pull that image and test it",
        )
    # What was proved here is of other bytes: it says nothing about those that are there.
    say(f"{reference} is already published as {there}, from the same content key")
    return image


def _pushed(repository: Repository, source: Source, names: Names) -> Manifest:
    """The image as it was read back after the push."""
    source.push(repository, names)
    image = image_at(repository, names.tag)
    if not ids_of(image) & source.ids:
        raise NetworkFailure(
            f"{names.reference(names.tag)} is {image.digest} at the registry after the push",
            hint="someone else may be pushing to this name; try again",
        )
    return image


def _attach(built: Built, evidence: Evidence, attach: Attach, names: Names, digest: str) -> None:
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


def _content(labels: Mapping[str, str]) -> tuple[str, str]:
    """The content key of an image that is published, and what it says of GPUs."""
    return labels.get(KEY_LABEL, ""), labels.get(LABEL, "")
