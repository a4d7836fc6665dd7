"""The two builders, and which of them makes an image: by executed steps, or from layers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from dlimg.builders.existing import existing
from dlimg.builders.progress import BuildProgress, OnProgress
from dlimg.builders.secrets import Secrets
from dlimg.engine.client import Engine, accept_buildx, engine_errors
from dlimg.engine.docker_address import named_address
from dlimg.model import BuildFailure, BuiltImage, Image, PlannedImage

Wanted = Literal["auto", "layers", "buildkit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderChoice:
    """The builder of an image, and why it is that one."""

    builder: Literal["layers", "buildkit"]
    why: str


class Builder(Protocol):
    """What a builder is: it makes images in an engine."""

    def __call__(
        self,
        planned: Sequence[PlannedImage],
        engine: Engine,
        *,
        jobs: int,
        secrets: Secrets,
        find_links: Sequence[Path],
        on_progress: OnProgress,
    ) -> tuple[BuiltImage | BuildFailure, ...]: ...


def _builders() -> Mapping[str, Builder]:
    from dlimg.builders import buildkit, layers  # noqa: PLC0415 - not for images that are there

    return {"layers": layers.build, "buildkit": buildkit.build}


def choice(wanted: Wanted, image: Image, against: str) -> BuilderChoice:
    """`auto` takes layers where the image allows it, and nothing about the engine is `against`."""
    if wanted != "auto":
        return BuilderChoice(builder=wanted, why="asked for")
    why = image.layers_obstacle or against
    if why:
        return BuilderChoice(builder="buildkit", why=why)
    return BuilderChoice(builder="layers", why="locked wheels only")


def against_assembling(environment: Mapping[str, str]) -> str:
    """What speaks against the engine that the environment names, as far as its address tells."""
    from dlimg.builders.load import distance  # noqa: PLC0415 - not for images that are there

    address = named_address(environment)
    return distance(address.host) if address else ""


@engine_errors()
def build(  # noqa: PLR0913  # what every builder takes, which of them, and whom to tell
    planned: Sequence[PlannedImage],
    engine: Engine,
    *,
    wanted: Wanted,
    jobs: int,
    secrets: Secrets,
    find_links: Sequence[Path],
    on_progress: OnProgress,
    log: Callable[[str], None],
) -> tuple[BuiltImage | BuildFailure, ...]:
    """What became of each planned image, in the given order, each by the builder that makes it.

    With `auto` an image that is there counts, whichever builder it is from.
    """
    found: dict[str, BuiltImage | BuildFailure] = {}
    found.update(existing(planned, engine, "" if wanted == "auto" else wanted))
    for one in planned:
        if one.reference in found:
            on_progress(BuildProgress(cell=one.image.cell.id, state="cached"))
    missing = [one for one in planned if one.reference not in found]
    if not missing:
        return tuple(found[one.reference] for one in planned)
    accept_buildx(engine.docker, engine.environment)
    builders = _builders()
    parts = _parts(missing, engine, wanted, log)
    for builder in sorted(parts, reverse=True):  # layers first: they are soon done
        part = parts[builder]
        results = builders[builder](
            part,
            engine,
            jobs=jobs,
            secrets=secrets,
            find_links=find_links,
            on_progress=on_progress,
        )
        found.update({one.reference: end for one, end in zip(part, results, strict=True)})
    return tuple(found[one.reference] for one in planned)


def _parts(
    missing: Sequence[PlannedImage], engine: Engine, wanted: Wanted, log: Callable[[str], None]
) -> Mapping[str, Sequence[PlannedImage]]:
    """The images by builder."""
    against = _against(missing, engine) if wanted == "auto" else ""
    parts: dict[str, list[PlannedImage]] = {}
    for one in missing:
        chosen = choice(wanted, one.image, against)
        parts.setdefault(chosen.builder, []).append(one)
        if wanted == "auto" and chosen.builder == "buildkit":
            log(f"{one.image.cell.id} takes BuildKit: {chosen.why}")
    return parts


def _against(missing: Sequence[PlannedImage], engine: Engine) -> str:
    """What speaks against this engine, which is asked."""
    from dlimg.builders.load import (  # noqa: PLC0415 - loaded only when needed
        distance,
        refusal,
    )

    return distance(engine.host) or refusal(engine, missing[0].compression)
