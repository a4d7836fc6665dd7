"""One planned image to its layers, its manifest and its config; no engine takes it here.

Two things that the store may lack are executed, by the hands that are given: the stage with the
operating system, and the compiler of byte code in that system.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dlimg.build.hands import Hands, check_fit
from dlimg.build.packages import check_packages
from dlimg.build.wheel_layers import Wheels, making
from dlimg.draw.image_config import image_config
from dlimg.engine.folders import cache_folder
from dlimg.engine.index import open_index
from dlimg.layers.addresses import addresses, asking
from dlimg.layers.assemble import Assembled, assemble, ordered
from dlimg.layers.bytecode import Compiler, compile_lacking
from dlimg.layers.fetch import End, Source
from dlimg.layers.kept import keep
from dlimg.layers.parts import bytecode_parts, own_layer_part, system_parts, wheel_parts
from dlimg.layers.recompress import recompressed
from dlimg.layers.store import Store
from dlimg.layers.system import OnLine
from dlimg.layers.systems import System
from dlimg.layers.upkeep import using
from dlimg.model import Planned

STEPS: Final = ("the system", "wheels", "byte code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What assembling takes: who executes, the store, where else wheels lie.

    Whoever is interrupted lets the `end` come: wheels are then waited for no more.
    """

    hands: Hands
    environment: Mapping[str, str]
    store: Store
    find_links: Sequence[Path]
    end: End = field(default_factory=End)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Who is told: `at` which step of STEPS an image is, and `on_line` what BuildKit says."""

    at: Callable[[str], None]
    on_line: OnLine


Assembling = Callable[[Planned, Told], Assembled]


@contextmanager
def assembling(planned: Sequence[Planned], means: Means) -> Iterator[Assembling]:
    """Inside, a function that assembles one of these images, whose wheels are made meanwhile.

    It raises what comes in its way: BadInput for an unfit wheel, Negative for a system that
    does not build or a Python that does not run, NetworkFailure.
    """
    with using(means.store), making(planned, means.store, _source(means)) as wheels:
        yield lambda one, told: _assembled(one, means, wheels, told)


def _assembled(planned: Planned, means: Means, wheels: Wheels, told: Told) -> Assembled:
    image, workshop = planned.image, wheels.workshop
    check_fit(image)
    told.at(STEPS[0])
    below = means.hands.system(planned, means.store, told.on_line)
    check_packages(planned, below.packages)
    told.at(STEPS[1])
    wheels.await_all(image)
    seen = replace(below, layers=recompressed(below.layers, workshop))
    parts = [
        *system_parts(seen, image),
        *wheel_parts(workshop, image),
        own_layer_part(workshop, image),
    ]
    told.at(STEPS[2])
    compiler = _compiler(planned, means, below)
    compile_lacking(workshop, image.lock.wheels, compiler)
    parts += bytecode_parts(workshop, image, compiler)
    config = image_config(image.cell, image.labels).on(below.config)
    found = assemble(planned, ordered(parts), config)
    keep(means.store, found)
    return found


def _compiler(planned: Planned, means: Means, below: System) -> Compiler:
    python = planned.image.cell.python
    return Compiler(
        interpreter=below.interpreter,
        python=python,
        compile_in=means.hands.compiler(below, python, means.store),
    )


def _source(means: Means) -> Source:
    """Where wheels come from."""
    environment = means.environment
    cache = cache_folder(environment)
    ask = asking(environment)
    return Source(
        folders=tuple(means.find_links),
        folder=cache / "fetched",
        addresses=lambda wheels, target: addresses(wheels, target, ask),
        session=open_index(environment, cache / "wheels").session,
        say=_hush,
        end=means.end,
    )


def _hush(_: str) -> None:
    """Waiting for another dlimg is shown as what it is: a step that takes its time."""
