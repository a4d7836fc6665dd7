"""Inspection of an image in the engine or at a registry, with all evidence about it."""

from dataclasses import dataclass, field, replace

from dlimg.checks.evidence import evidence_folder, read_evidence
from dlimg.context import Context, no_log
from dlimg.engine.client import Engine
from dlimg.engine.discover import find_engine
from dlimg.errors import DlimgError, Negative, NoEngine
from dlimg.model import Evidence, Wheel
from dlimg.pipeline.device_evidence import DeviceEvidence, evidence_by_device
from dlimg.publish.image_content import ImageContent
from dlimg.publish.read_image import (
    AttachedDocuments,
    check_subject,
    read_attached,
    read_engine_image,
    read_registry_image,
    registry_references,
)
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import resolve_digest
from dlimg.registry.reference import ImageReference, parse_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectReport:
    """An image with all evidence about it; `remarks` are warnings for the reader."""

    content: ImageContent
    wheels: tuple[Wheel, ...] = ()
    proofs: tuple[DeviceEvidence, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectQuery:
    """One inspection: its context, which logs nothing, and the remarks collected during it."""

    context: Context
    remarks: list[str] = field(default_factory=list)


def inspect(name: str, context: Context) -> InspectReport:
    """Return the image of this name: the engine's if it has one, or else the registry's.

    Raises `Negative` when neither has it, `NoEngine` when only an engine could, `BadInput` for
    a name that is not an image's, and `NetworkFailure`.
    """
    parse_reference(name)  # for an invalid name an engine answers `page not found`
    # Messages about finding an engine have nothing to do with the image.
    query = InspectQuery(context=replace(context, log=no_log))
    content, attached = _in_engine(query, name) or _at_registry(query, name)
    if content.claimed_digest and not content.tested_digest:
        query.remarks.append(
            f"a label names {content.claimed_digest} as the image that was tested; nothing here "
            "proves that this is that one, so its evidence does not count"
        )
    local = _local_evidence(query, content)
    return InspectReport(
        content=content,
        wheels=attached.lock.wheels if attached.lock else (),
        proofs=evidence_by_device(local, attached.evidence),
        remarks=tuple(query.remarks),
    )


def _in_engine(query: InspectQuery, name: str) -> tuple[ImageContent, AttachedDocuments] | None:
    """Return the engine's image with the documents at its registry; None if not in the engine."""
    try:
        engine = find_engine(query.context, private="join")
    except NoEngine:
        # A registry needs no engine; the error for a name without a registry comes later.
        return None
    content = read_engine_image(engine, name)
    return _beside_known(query, engine, content, name) if content else None


def _beside_known(
    query: InspectQuery, engine: Engine, content: ImageContent, name: str
) -> tuple[ImageContent, AttachedDocuments]:
    """Return the documents attached to the image at the registries that the engine names.

    A registry can prove that it is a tested image with two more labels; an engine may not.
    """
    evidence: list[Evidence] = []
    lock = None
    for text in registry_references(engine, content):
        reference = parse_reference(text)
        if not reference.host:
            continue
        try:
            with open_registry(reference.host, query.context) as registry:
                repository = Repository(registry=registry, name=reference.name)
                content = _with_tested(repository, reference, content)
                attached = read_attached(
                    repository, [reference.digest], content, log=query.remarks.append
                )
                _compare(query, repository, reference, name)
        except DlimgError as error:
            query.remarks.append(f"{text} was not asked for evidence: {error.problems[0].message}")
            continue
        evidence += attached.evidence
        lock = lock or attached.lock
    return content, AttachedDocuments(evidence=tuple(evidence), lock=lock)


def _with_tested(
    repository: Repository, reference: ImageReference, content: ImageContent
) -> ImageContent:
    """Return the content with the digest of the tested image, if the registry proves it."""
    if not content.claimed_digest or content.tested_digest:
        return content
    published = read_registry_image(repository, reference)
    if published and published.digests & content.digests:
        return replace(content, tested_digest=published.tested_digest)
    return content


def _compare(
    query: InspectQuery, repository: Repository, in_engine: ImageReference, name: str
) -> None:
    """Add a remark if the name leads to another image at the registry than in the engine."""
    reference = parse_reference(name)
    if (reference.host, reference.name) != (in_engine.host, in_engine.name) or reference.digest:
        return
    digest = resolve_digest(repository, reference.tag)
    if digest != in_engine.digest:
        query.remarks.append(
            f"the registry has another image under this name: {digest or 'none at all'}; "
            "this is the engine's"
        )


def _at_registry(query: InspectQuery, name: str) -> tuple[ImageContent, AttachedDocuments]:
    reference = parse_reference(name)
    if not reference.host:
        return _nowhere(query, name)
    with open_registry(reference.host, query.context) as registry:
        repository = Repository(registry=registry, name=reference.name)
        content = read_registry_image(repository, reference)
        if content is None:
            raise Negative(
                f"{reference} is neither in the engine nor at the registry",
                hint=f"check the name; a private one may want a `docker login {reference.host}`",
            )
        return content, read_attached(
            repository, content.subjects, content, log=query.remarks.append
        )


def _nowhere(query: InspectQuery, name: str) -> tuple[ImageContent, AttachedDocuments]:
    # Without an engine, that is the reason.
    find_engine(query.context, private="join")
    raise Negative(
        f"the engine has no image {name!r}",
        hint="for one at a registry write its host, too: docker.io/NAME, ghcr.io/TEAM/NAME",
    )


def _local_evidence(query: InspectQuery, content: ImageContent) -> tuple[Evidence, ...]:
    """Return the evidence on this machine about the image's bytes."""
    folder = evidence_folder(query.context)
    local: list[Evidence] = []

    def damaged(text: str) -> None:
        # The effect on the next test does not matter to a reader of this image.
        query.remarks.append(text.removeprefix("warning: ").partition(";")[0])

    for digest in sorted(content.evidence_digests):
        local += read_evidence(folder, digest, log=damaged)
    return tuple(check_subject(evidence, content) for evidence in local)
