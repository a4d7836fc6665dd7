"""`inspect`: an image in the engine or at a registry, with all evidence there is of it."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dlimg.checks.evidence import evidence_folder, read_evidence
from dlimg.cli.printing import out, print_json, print_table, say
from dlimg.engine.client import Engine
from dlimg.engine.discover import find
from dlimg.errors import DlimgError, Negative, NoEngine
from dlimg.model import Evidence
from dlimg.publish.engine_image import content_in, names_at_registries
from dlimg.publish.image_content import ImageContent, maker
from dlimg.publish.registry_image import AttachedDocuments, about, beside, content_at
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import resolve_digest
from dlimg.registry.reference import ImageReference, parse_reference
from dlimg.report.evidence_text import proof_text, proofs, verdict_row
from dlimg.report.inspect import (
    InspectReport,
    fact_rows,
    harmless,
    inspected_json,
    layer_rows,
    wheel_rows,
)
from dlimg.units import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectQuery:
    """One look at an image: the environment it is done in, and what was noticed on the way."""

    environment: Mapping[str, str]
    remarks: list[str] = field(default_factory=list)


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 for an image that dlimg made, 1 for one that it did not."""
    seen = inspect(arguments.reference, environment)
    if arguments.format == "json":
        print_json(inspected_json(seen))
    else:
        _print(seen, environment)
    return 0 if maker(seen.content) == "dlimg" else 1


def inspect(name: str, environment: Mapping[str, str]) -> InspectReport:
    """The image of this name: the engine's where it has one, or else the registry's.

    Raises `Negative` when neither has it, `NoEngine` when only an engine could, `BadInput` for
    what is no image, and `NetworkFailure`.
    """
    parse_reference(name)  # an engine says of what is no name that it has no such page
    look = InspectQuery(environment=environment)
    found, laid = _in_engine(look, name) or _at_registry(look, name)
    if found.claimed and not found.tested:
        look.remarks.append(
            f"a label names {found.claimed} as the image that was tested; nothing here proves that "
            "this is that one, so its evidence does not count"
        )
    kept = _kept(look, found)
    return InspectReport(
        content=found,
        wheels=laid.lock.wheels if laid.lock else (),
        proofs=proofs(kept, laid.evidence),
        remarks=tuple(look.remarks),
    )


def _in_engine(look: InspectQuery, name: str) -> tuple[ImageContent, AttachedDocuments] | None:
    """The engine's image and what its registry has beside it; nothing where there is none."""
    try:
        engine = find(look.environment, private="join", say=_nobody)
    except NoEngine:
        # A registry needs none; a name that only an engine could know is told of below.
        return None
    content = content_in(engine, name)
    return _beside_known(look, engine, content, name) if content else None


def _beside_known(
    look: InspectQuery, engine: Engine, content: ImageContent, name: str
) -> tuple[ImageContent, AttachedDocuments]:
    """What lies beside the image at the registries that the engine had it from.

    They can prove that it is another one with labels more, which the engine may not.
    """
    evidence: list[Evidence] = []
    lock = None
    for text in names_at_registries(engine, content):
        place = parse_reference(text)
        if not place.host:
            continue
        try:
            with open_registry(place.host, look.environment) as registry:
                repository = Repository(registry=registry, name=place.name)
                content = _with_tested(repository, place, content)
                found = beside(repository, [place.digest], content, say=look.remarks.append)
                _compare(look, repository, place, name)
        except DlimgError as error:
            look.remarks.append(f"{text} was not asked for evidence: {error.problems[0].message}")
            continue
        evidence += found.evidence
        lock = lock or found.lock
    return content, AttachedDocuments(evidence=tuple(evidence), lock=lock)


def _with_tested(
    repository: Repository, place: ImageReference, content: ImageContent
) -> ImageContent:
    """The content with the digest of the image that was tested, where it claims to be one more."""
    there = content_at(repository, place) if content.claimed and not content.tested else None
    return replace(content, tested=there.tested) if there and there.same & content.same else content


def _compare(look: InspectQuery, repository: Repository, place: ImageReference, name: str) -> None:
    """Say so when the name that was asked for leads elsewhere at the registry by now."""
    asked = parse_reference(name)
    if (asked.host, asked.name) != (place.host, place.name) or asked.digest:
        return
    there = resolve_digest(repository, asked.tag)
    if there != place.digest:
        look.remarks.append(
            f"the registry has another image under this name: {there or 'none at all'}; this is "
            "the engine's"
        )


def _at_registry(look: InspectQuery, name: str) -> tuple[ImageContent, AttachedDocuments]:
    place = parse_reference(name)
    if not place.host:
        return _nowhere(look, name)
    with open_registry(place.host, look.environment) as registry:
        repository = Repository(registry=registry, name=place.name)
        content = content_at(repository, place)
        if content is None:
            raise Negative(
                f"{place} is neither in the engine nor at the registry",
                hint=f"check the name; a private one may want a `docker login {place.host}`",
            )
        return content, beside(repository, content.subjects, content, say=look.remarks.append)


def _nowhere(look: InspectQuery, name: str) -> tuple[ImageContent, AttachedDocuments]:
    find(look.environment, private="join", say=_nobody)  # where there is none, that is the reason
    raise Negative(
        f"the engine has no image {name!r}",
        hint="for one at a registry write its host, too: docker.io/NAME, ghcr.io/TEAM/NAME",
    )


def _kept(look: InspectQuery, content: ImageContent) -> tuple[Evidence, ...]:
    """What was proved on this machine about the image's bytes."""
    folder = evidence_folder(look.environment)
    found: list[Evidence] = []

    def damaged(text: str) -> None:
        # What it means for the next test is no news for whoever looks at an image.
        look.remarks.append(text.removeprefix("warning: ").partition(";")[0])

    for digest in sorted(content.names):
        found += read_evidence(folder, digest, say=damaged)
    return tuple(about(one, content) for one in found)


def _print(seen: InspectReport, environment: Mapping[str, str]) -> None:
    _line(seen.content.reference)
    rows = fact_rows(seen)
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        _line(f"  {name:{width}}  {text}")
    _line("")
    _line("evidence" if seen.proofs else "no evidence: nobody has tested it, or kept it")
    for proof in seen.proofs:
        _line(proof_text(proof))
        verdicts = [verdict_row(one) for one in proof.evidence.verdicts]
        _table(("verdict", "check", "time", "reason"), verdicts, environment)
    wheels = wheel_rows(seen)
    if wheels:
        _line("")
        _line(f"{counted(len(wheels), 'wheel')}")
        _table(("wheel", "version", "download"), wheels, environment)
    _line("")
    _line(f"{counted(len(seen.content.layers), 'layer')}, lowest first")
    headings = ("to pull", "unpacked", "digest", "made by")
    _table(headings, layer_rows(seen.content), environment)
    for remark in seen.remarks:
        say(f"note: {harmless(remark)}")


def _line(text: str) -> None:
    out(f"{harmless(text)}\n")


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], environment: Mapping[str, str]
) -> None:
    print_table(headings, [[harmless(text) for text in row] for row in rows], environment)


def _nobody(_text: str) -> None:
    """What an engine says of itself is no part of an image."""
