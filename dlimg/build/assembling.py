"""One planned image to its layers, its manifest and its config; no engine takes it here.

An engine builds what the store lacks of two things: the stage with the operating system, by
BuildKit, and byte code, in a container of that system.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dlimg.build.secrets import Secrets
from dlimg.build.wheel_layers import Wheels, making
from dlimg.draw.config import image_config
from dlimg.draw.fit import obstacle
from dlimg.engine.client import Engine
from dlimg.engine.folders import cache_folder
from dlimg.engine.index import open_index
from dlimg.errors import BadInput
from dlimg.layers.addresses import addresses, asking
from dlimg.layers.assemble import Assembled, assemble, image_of, ordered
from dlimg.layers.bytecode import Compiler, compile_lacking
from dlimg.layers.fetch import Source
from dlimg.layers.intake import visiting
from dlimg.layers.kept import keep
from dlimg.layers.parts import bytecode_parts, own_layer_part, system_parts, wheel_parts
from dlimg.layers.recompress import recompressed
from dlimg.layers.serve import Content
from dlimg.layers.store import Store
from dlimg.layers.system import OnLine, Tools, system
from dlimg.layers.systems import System
from dlimg.layers.upkeep import using
from dlimg.model import Planned

STEPS: Final = ("the system", "wheels", "byte code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What assembling takes: an engine, the store, where else wheels lie, what steps may use."""

    engine: Engine
    store: Store
    secrets: Secrets
    find_links: Sequence[Path]


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


def blobs(image: Assembled, store: Store) -> Mapping[str, Content]:
    """The image's blobs by digest, as they are served."""
    layers: dict[str, Content] = {layer.digest: store.blob(layer) for layer in image.layers}
    return {**layers, image.config_digest: image.config}


def _assembled(planned: Planned, means: Means, wheels: Wheels, told: Told) -> Assembled:
    image, workshop = planned.image, wheels.workshop
    reason = obstacle(image)
    if reason:
        raise BadInput(reason, where=image.cell.id, hint="build it with `--builder buildkit`")
    told.at(STEPS[0])
    tools = Tools(
        engine=means.engine,
        secrets=means.secrets.files,
        arguments=means.secrets.arguments,
        on_line=told.on_line,
        say=_hush,
    )
    below = system(planned, means.store, tools)
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
    config = image_config(image.dockerfile).on(below.config)
    found = assemble(planned, ordered(parts), config)
    keep(means.store, found)
    return found


def _compiler(planned: Planned, means: Means, below: System) -> Compiler:
    bare = image_of([(layer, "") for layer in below.layers], below.config, below.config.labels)
    return Compiler(
        engine=means.engine,
        interpreter=below.interpreter,
        python=planned.image.cell.python,
        visiting=lambda: visiting(
            means.engine, bare.manifest, bare.digest, blobs(bare, means.store)
        ),
    )


def _source(means: Means) -> Source:
    """Where wheels come from."""
    environment = means.engine.environment
    cache = cache_folder(environment)
    ask = asking(environment)
    return Source(
        folders=tuple(means.find_links),
        folder=cache / "fetched",
        addresses=lambda wheels, target: addresses(wheels, target, ask),
        session=open_index(environment, cache / "wheels").session,
        say=_hush,
    )


def _hush(_: str) -> None:
    """Waiting for another dlimg is shown as what it is: a step that takes its time."""
