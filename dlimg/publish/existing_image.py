"""Another image under an immutable name than the one that was built here.

What its labels claim counts for nothing: names lead to it when this machine has tested it, or
tests it now. The one that was built here is not pushed.
"""

from dataclasses import dataclass, replace
from typing import Final

from dlimg.engine.client import Engine, has_containerd_store
from dlimg.errors import DlimgError, Negative, NotRun
from dlimg.model import BuiltImage, Evidence
from dlimg.publish.check_runner import CheckRunner
from dlimg.publish.manifest_identity import holds_what_it_says, is_noted, note_manifest
from dlimg.publish.policy import Require, Standing, admit
from dlimg.publish.pull import pulled
from dlimg.publish.push import send_pieces
from dlimg.publish.push_source import ImageSources, PushSource
from dlimg.publish.relabel import LABEL
from dlimg.publish.tags import Place, config_of, contents_of, parse_labels
from dlimg.registry.blobs import missing_blobs
from dlimg.registry.manifests import Manifest, parse_descriptor
from dlimg.render.bake import KEY_LABEL
from dlimg.store.images import load_image

_NEXT: Final = (
    "take that name away at the registry if nobody needs that image, or publish to another place"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """The image that a registry has under an immutable name, beside the one that was built here."""

    place: Place
    manifest: Manifest
    built: BuiltImage
    source: PushSource
    standing: Standing
    require: Require

    @property
    def text(self) -> str:
        """`host/team/jax:1-cpu-0123456789ab is sha256:...`, for messages."""
        return f"{self.place.reference} is {self.manifest.digest}"

    @property
    def cell(self) -> str:
        return self.built.planned.image.cell.id


def tested_other(
    other: Other, runner: CheckRunner, stock: ImageSources
) -> tuple[BuiltImage, Evidence]:
    """The other image with evidence of it that is as good as what was wanted of the first.

    Raises `Negative` for an image that is no such image, lacks a part, or fails; `NotRun` when it
    cannot be tested here as it has to be; `NetworkFailure` when it cannot be had.
    """
    _check_contents(other, stock)
    _check_labels(other)
    say = other.place.say
    say(
        f"{other.text} already, another image of the same content "
        f"key than {other.source.digest}, which was built here and is not pushed"
    )
    found = _known(other, runner)
    if found:
        say(f"{other.cell}: {other.manifest.digest} was tested on this machine on {found[1].day}")
        return found
    if stock.engine is None:
        raise NotRun(
            f"{other.text}, which was not tested on this machine, "
            "and there is no engine to pull it with",
            where=other.cell,
            hint="publish where an engine runs, or to another place",
        )
    say(f"{other.cell}: pulling and testing {other.manifest.digest}")
    with pulled(stock.engine, other.place.names.repository, other.manifest) as digest:
        built = replace(other.built, digest=digest, cached=True)
        evidence = runner.test(built)
        _check_proved(other, built, evidence, runner)
        _note(other, stock.engine)
    return built, evidence


def _check_labels(other: Other) -> None:
    """Refuse what does not even claim to be the same; what claims it is not yet believed."""
    labels = parse_labels(config_of(other.place.repository, other.manifest))
    claims = (KEY_LABEL, LABEL)
    if [labels.get(name, "") for name in claims] != [
        other.source.labels.get(name, "") for name in claims
    ]:
        raise Negative(
            f"{other.place.reference} is immutable and is {other.manifest.digest} already, not "
            f"{other.source.digest}: it is something else",
            where=other.cell,
            hint=_NEXT,
        )


def _check_contents(other: Other, stock: ImageSources) -> None:
    """Nobody can pull an image of which a part is lost; what this machine has of it is sent."""
    missing = missing_blobs(other.place.repository, contents_of(other.manifest))
    if missing:
        ours = load_image(stock.store, other.manifest.digest)
        configs = {ours.config_digest: ours.config} if ours else {}
        missing = send_pieces(other.place.repository, missing, stock.store, configs)
    if missing:
        parts = ", ".join(f"{one.digest} ({one.size:,} bytes)" for one in missing)
        raise _incomplete(other, f"the registry lacks {parts}, and so does this machine")


def _incomplete(other: Other, reason: str) -> Negative:
    return Negative(
        f"{other.text}, which nobody can pull: {reason}",
        where=other.cell,
        hint=f"publish from the machine that built it; or {_NEXT}",
    )


def _known(other: Other, runner: CheckRunner) -> tuple[BuiltImage, Evidence] | None:
    """The image as this machine has tested it before, and well enough."""
    config = parse_descriptor(other.manifest.content.get("config"))
    digests = [other.manifest.digest]
    if config and is_noted(other.place.notes, other.manifest):
        digests.append(config.digest)
    for digest in digests:
        built = replace(other.built, digest=digest, cached=True)
        evidence = runner.known(built, config_of(other.place.repository, other.manifest))
        try:
            standing = admit(built, evidence, digest=digest, require=other.require, checks=())
        except DlimgError:
            continue  # it is tested again: what failed once may pass, and what lacks may be had
        if evidence and standing == other.standing:
            return built, evidence
    return None


def _check_proved(other: Other, built: BuiltImage, evidence: Evidence, runner: CheckRunner) -> None:
    """Raise `Negative` or `NotRun` when that image is not as well tested as was wanted."""
    try:
        standing = admit(
            built,
            evidence,
            digest=built.digest,
            require=other.require,
            checks=runner.checks(built),
        )
    except (Negative, NotRun) as error:
        raise type(error)(
            f"{other.text}, another image than the one built here, "
            f"and names do not move to it: {error.problems[0].message}",
            where=other.cell,
            hint=_NEXT,
        ) from error
    if standing != other.standing:
        raise NotRun(
            f"{other.text}, which is {standing} here; the image built here is {other.standing}",
            where=other.cell,
            hint=_NEXT,
        )


def _note(other: Other, engine: Engine) -> None:
    """Note what an engine without manifests has tested; refuse what only claims its config."""
    config = parse_descriptor(other.manifest.content.get("config"))
    if (
        has_containerd_store(engine)
        or config is None
        or is_noted(other.place.notes, other.manifest)
    ):
        return
    if not holds_what_it_says(other.place.repository, other.manifest):
        raise _incomplete(other, "its layers are not those that its config names")
    note_manifest(other.place.notes, other.manifest.digest, config.digest)
