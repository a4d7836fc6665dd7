"""Choosing a builder for each image: BuildKit, which executes steps, or assembled layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dlimg.builders import buildkit, layers
from dlimg.builders.builder import Builder, BuildParameters, split_existing
from dlimg.builders.load import remote_engine_reason
from dlimg.context import Context, Log
from dlimg.engine.client import Engine, check_buildx, engine_errors
from dlimg.engine.docker_address import named_address
from dlimg.model import BuildFailure, BuiltImage, Image, PlannedImage

BuilderOption = Literal["auto", "layers", "buildkit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderChoice:
    """The builder of an image, and why it was chosen."""

    builder: Literal["layers", "buildkit"]
    why: str


# The layers builder comes first, because it is quick.
_BUILDERS: Final[Mapping[str, Builder]] = {"layers": layers.build, "buildkit": buildkit.build}


def choose_builder(option: BuilderOption, image: Image, engine_obstacle: str) -> BuilderChoice:
    """Choose the builder of an image.

    `auto` chooses layers if the image can be assembled and the engine has no obstacle to it.
    """
    if option != "auto":
        return BuilderChoice(builder=option, why="asked for")
    obstacle = image.layers_obstacle or engine_obstacle
    if obstacle:
        return BuilderChoice(builder="buildkit", why=obstacle)
    return BuilderChoice(builder="layers", why="locked wheels only")


def address_obstacle(context: Context) -> str:
    """Return why the engine that the context names cannot load layers; empty if it can.

    Only the address is looked at: the engine is not asked.
    """
    address = named_address(context)
    return remote_engine_reason(address.host) if address else ""


@engine_errors()
def build_images(
    planned: Sequence[PlannedImage],
    engine: Engine,
    parameters: BuildParameters,
    *,
    option: BuilderOption,
    engine_obstacle: str = "",
    log: Log,
) -> tuple[BuiltImage | BuildFailure, ...]:
    """Build each image with its builder and return the results in order.

    `engine_obstacle` is why the engine cannot load layers; empty if it can. With `auto`, an image
    that the engine has already counts whichever builder made it.
    """
    label = "" if option == "auto" else option
    present, missing = split_existing(planned, engine, label, parameters.on_progress)
    if not missing:
        return tuple(present[plan.reference] for plan in planned)
    check_buildx(engine)
    results: dict[str, BuiltImage | BuildFailure] = {**present}
    by_builder = _by_builder(missing, option, engine_obstacle, log)
    for name, build in _BUILDERS.items():
        group = by_builder.get(name, ())
        if group:
            built = build(group, engine, parameters)
            results.update(
                {plan.reference: result for plan, result in zip(group, built, strict=True)}
            )
    return tuple(results[plan.reference] for plan in planned)


def _by_builder(
    missing: Sequence[PlannedImage], option: BuilderOption, engine_obstacle: str, log: Log
) -> Mapping[str, Sequence[PlannedImage]]:
    groups: dict[str, list[PlannedImage]] = {}
    for plan in missing:
        choice = choose_builder(option, plan.image, engine_obstacle)
        groups.setdefault(choice.builder, []).append(plan)
        if option == "auto" and choice.builder == "buildkit":
            log(f"{plan.image.cell.id} takes BuildKit: {choice.why}")
    return groups
