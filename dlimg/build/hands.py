"""Who executes what cannot be assembled: an engine, or this machine itself where none is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlimg.build.image_packages import build_for_packages
from dlimg.build.secrets import Secrets
from dlimg.draw.fit import obstacle
from dlimg.engine.client import Engine
from dlimg.errors import BadInput
from dlimg.layers import compiling, without_engine
from dlimg.layers.assemble import Assembled, image_of
from dlimg.layers.compiling import CompileIn
from dlimg.layers.intake import visiting
from dlimg.layers.serve import Content
from dlimg.layers.store import Store
from dlimg.layers.system import OnLine, Tools, system, system_by
from dlimg.layers.systems import System
from dlimg.layers.upkeep import reading
from dlimg.model import Image, Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """`system` is that of an image, from the store or built now; `compiler` one in a system.

    `packages` are those of an image: its system's, or those of all of it where that is not all.
    """

    system: Callable[[Planned, Store, OnLine], System]
    packages: Callable[[Planned, Store, OnLine], tuple[str, ...]]
    compiler: Callable[[System, str, Store], CompileIn]


def of_engine(engine: Engine, secrets: Secrets, find_links: Sequence[Path] = ()) -> Hands:
    """BuildKit builds the system's stage, and a container of it compiles."""

    def tools(on_line: OnLine) -> Tools:
        return Tools(
            engine=engine,
            secrets=secrets.files,
            arguments=secrets.arguments,
            on_line=on_line,
            say=_hush,
        )

    def build(planned: Planned, store: Store, on_line: OnLine) -> System:
        return system(planned, store, tools(on_line))

    def packages(planned: Planned, store: Store, on_line: OnLine) -> tuple[str, ...]:
        if obstacle(planned.image):
            return build_for_packages(planned, tools(on_line), find_links)
        return build(planned, store, on_line).packages

    def compiler(below: System, python: str, store: Store) -> CompileIn:
        bare = image_of([(layer, "") for layer in below.layers], below.config, below.config.labels)
        content = blobs(bare, store)

        def compile_in(sources: compiling.Sources, spool: compiling.Spool) -> compiling.Places:
            with (
                reading(store, bare.layers),
                visiting(engine, bare.manifest, bare.digest, content) as image,
            ):
                return compiling.compile_in(engine, image, python, sources, spool)

        return compile_in

    return Hands(system=build, packages=packages, compiler=compiler)


def of_machine(secrets: Secrets) -> Hands:
    """The machine that dlimg runs on does both, in a folder."""

    def build(planned: Planned, store: Store, _: OnLine) -> System:
        def built() -> System:
            return without_engine.build_system(
                planned, store, secrets=secrets.files, arguments=secrets.arguments, say=_hush
            )

        return system_by(planned, store, built, _hush)

    def packages(planned: Planned, store: Store, on_line: OnLine) -> tuple[str, ...]:
        check_fit(planned.image)
        return build(planned, store, on_line).packages

    def compiler(below: System, python: str, store: Store) -> CompileIn:
        return lambda sources, spool: without_engine.compile_in(
            below, store, python, sources, spool
        )

    return Hands(system=build, packages=packages, compiler=compiler)


def check_fit(image: Image) -> None:
    """Nothing; BadInput for an image that cannot be assembled."""
    reason = obstacle(image)
    if reason:
        raise BadInput(reason, where=image.cell.id, hint="build it with `--builder buildkit`")


def blobs(image: Assembled, store: Store) -> Mapping[str, Content]:
    """The image's blobs by digest, as they are served."""
    layers: dict[str, Content] = {layer.digest: store.blob(layer) for layer in image.layers}
    return {**layers, image.config_digest: image.config}


def _hush(_: str) -> None:
    """Waiting for another dlimg is shown as what it is: a step that takes its time."""
