"""Publishing, in the one order of design.md D7: what was tested goes first, what moves last."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import docker
from docker.models.images import Image as EngineImage

from dlimg.build.interrupt import terminable
from dlimg.draw.bake import KEY_LABEL
from dlimg.engine.client import Engine, answering
from dlimg.errors import Negative, NetworkFailure
from dlimg.model import Built
from dlimg.proof import Evidence
from dlimg.publish.admit import NOT_TESTED_ON_GPU, Require, Standing, admit
from dlimg.publish.attach import Attach
from dlimg.publish.derive import LABEL, labelled
from dlimg.publish.names import UNTESTED_SUFFIX, Names, names_at
from dlimg.publish.registry import at_hand, digest_at, is_same, labels_at, push


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An image at a registry: its immutable name, and the names that now lead to it."""

    cell: str
    reference: str
    digest: str
    moved: tuple[str, ...]
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where to publish, what an image must have proved, and what lays that beside it."""

    to: str
    require: Require
    attach: Attach


@answering()
def publish(
    built: Built,
    evidence: Evidence | None,
    engine: Engine,
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
    tested = _tested(built, engine)
    digest = str(tested.id) if tested else ""
    standing = admit(built, evidence, digest=digest, require=wanted.require)
    names = names_at(wanted.to, built.planned, standing)
    cell = built.planned.image.cell.id
    if standing == NOT_TESTED_ON_GPU:
        say(f"{cell}: {NOT_TESTED_ON_GPU}; published with that label")
    with terminable(), _source(built, engine, names, standing) as source:
        digest = _push_immutable(engine, source, names, say)
        if evidence and is_same(engine, source, names.repository, digest):
            _attach(built, evidence, wanted.attach, names, digest)
        for tag in names.moving:
            _move(engine, source, names, tag, digest)
            say(f"{cell}: {names.reference(tag)} is {digest}")
    return Published(
        cell=cell,
        reference=names.reference(names.tag),
        digest=digest,
        moved=tuple(names.reference(tag) for tag in names.moving),
        standing=standing,
    )


def _tested(built: Built, engine: Engine) -> EngineImage | None:
    try:
        return engine.sdk.images.get(built.planned.reference)
    except docker.errors.ImageNotFound:
        return None


@contextlib.contextmanager
def _source(
    built: Built, engine: Engine, names: Names, standing: Standing
) -> Iterator[EngineImage]:
    """The image to push; the labelled one is gone from the engine afterwards."""
    tested = engine.sdk.images.get(built.planned.reference)
    if standing == "tested":
        yield tested
        return
    _refuse_to_replace_tested(engine, names)
    name = f"{built.planned.reference}{UNTESTED_SUFFIX}"
    try:
        yield labelled(built, tested, engine, name)
    finally:
        with contextlib.suppress(docker.errors.APIError):
            engine.sdk.images.remove(name)


def _refuse_to_replace_tested(engine: Engine, names: Names) -> None:
    better = names.reference(names.tag.removesuffix(UNTESTED_SUFFIX))
    if digest_at(engine, better):
        raise Negative(
            f"{better} is there and was tested on a GPU; names would move to a lesser image",
            hint="publish without --require no-gpu, where a GPU is",
        )


def _push_immutable(
    engine: Engine, source: EngineImage, names: Names, say: Callable[[str], None]
) -> str:
    """The digest under the immutable name, which then is there."""
    reference = names.reference(names.tag)
    there = digest_at(engine, reference)
    if not there:
        return push(engine, source, names.repository, names.tag)
    if is_same(engine, source, names.repository, there):
        return there
    if _content(labels_at(engine, f"{names.repository}@{there}")) != _content(source.labels):
        raise Negative(
            f"{reference} is immutable and is {there} already, not {source.id}",
            where=source.labels.get("io.dlimg.cell", ""),
            hint="publish to another place, or pull that image and test it",
        )
    # What was proved here is of other bytes: it says nothing about those that are there.
    say(f"{reference} is already published as {there}, from the same content key")
    return there


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


def _move(engine: Engine, source: EngineImage, names: Names, tag: str, digest: str) -> None:
    if digest_at(engine, names.reference(tag)) == digest:
        return
    with at_hand(engine, source, names.repository, digest) as image:
        found = push(engine, image, names.repository, tag)
    if found != digest:
        raise NetworkFailure(
            f"{names.reference(tag)} is {found} at the registry, not {digest}",
            hint="someone else may be pushing to this name; try again",
        )
