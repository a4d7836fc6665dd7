"""Who executes what cannot be assembled: an engine, or this machine itself where none is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlimg.assembly import compile_python
from dlimg.assembly.compile_python import CompileIn
from dlimg.assembly.system import OnLine, SystemBuildTools, system, system_by
from dlimg.builders import host_rootfs
from dlimg.builders.image_packages import build_for_packages
from dlimg.builders.load import visiting
from dlimg.builders.loopback_registry import Content
from dlimg.builders.secrets import Secrets
from dlimg.engine.client import Engine
from dlimg.errors import BadInput
from dlimg.model import Image, PlannedImage
from dlimg.render.layers_eligibility import obstacle
from dlimg.store.image_manifest import AssembledImage, image_of
from dlimg.store.maintenance import reading
from dlimg.store.store import Store
from dlimg.store.systems import SystemLayers


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """`system` is that of an image, from the store or built now; `compiler` one in a system.

    `packages` are those of an image: its system's, or those of all of it where that is not all.
    """

    system: Callable[[PlannedImage, Store, OnLine], SystemLayers]
    packages: Callable[[PlannedImage, Store, OnLine], tuple[str, ...]]
    compiler: Callable[[SystemLayers, str, Store], CompileIn]


def of_engine(engine: Engine, secrets: Secrets, find_links: Sequence[Path] = ()) -> Executor:
    """BuildKit builds the system's stage, and a container of it compiles."""

    def tools(on_line: OnLine) -> SystemBuildTools:
        return SystemBuildTools(
            engine=engine,
            secrets=secrets.files,
            arguments=secrets.arguments,
            on_line=on_line,
            say=_hush,
        )

    def build(planned: PlannedImage, store: Store, on_line: OnLine) -> SystemLayers:
        return system(planned, store, tools(on_line))

    def packages(planned: PlannedImage, store: Store, on_line: OnLine) -> tuple[str, ...]:
        if obstacle(planned.image):
            return build_for_packages(planned, tools(on_line), find_links)
        return build(planned, store, on_line).packages

    def compiler(below: SystemLayers, python: str, store: Store) -> CompileIn:
        bare = image_of([(layer, "") for layer in below.layers], below.config, below.config.labels)
        content = blobs(bare, store)

        def compile_in(
            sources: compile_python.Sources, spool: compile_python.Spool
        ) -> compile_python.Places:
            with (
                reading(store, bare.layers),
                visiting(engine, bare.manifest, bare.digest, content) as image,
            ):
                return compile_python.compile_in(engine, image, python, sources, spool)

        return compile_in

    return Executor(system=build, packages=packages, compiler=compiler)


def of_machine(secrets: Secrets) -> Executor:
    """The machine that dlimg runs on does both, in a folder."""

    def build(planned: PlannedImage, store: Store, _: OnLine) -> SystemLayers:
        def built() -> SystemLayers:
            return host_rootfs.build_system(
                planned, store, secrets=secrets.files, arguments=secrets.arguments, say=_hush
            )

        return system_by(planned, store, built, _hush)

    def packages(planned: PlannedImage, store: Store, on_line: OnLine) -> tuple[str, ...]:
        check_fit(planned.image)
        return build(planned, store, on_line).packages

    def compiler(below: SystemLayers, python: str, store: Store) -> CompileIn:
        return lambda sources, spool: host_rootfs.compile_in(below, store, python, sources, spool)

    return Executor(system=build, packages=packages, compiler=compiler)


def check_fit(image: Image) -> None:
    """Nothing; BadInput for an image that cannot be assembled."""
    reason = obstacle(image)
    if reason:
        raise BadInput(reason, where=image.cell.id, hint="build it with `--builder buildkit`")


def blobs(image: AssembledImage, store: Store) -> Mapping[str, Content]:
    """The image's blobs by digest, as they are served."""
    layers: dict[str, Content] = {layer.digest: store.blob(layer) for layer in image.layers}
    return {**layers, image.config_digest: image.config}


def _hush(_: str) -> None:
    """Waiting for another dlimg is shown as what it is: a step that takes its time."""
