"""Executors: an engine, or this host, runs the two steps of a build that cannot be assembled.

These are the Dockerfile's system stage and the compiling of byte code in that system.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dlimg.assembly import compile_python
from dlimg.assembly.compile_python import BytecodeRanges, Sources, Spool
from dlimg.assembly.system import OnLine, SystemBuildTools, build_system, load_or_build_system
from dlimg.builders import host_rootfs
from dlimg.builders.image_packages import build_for_packages
from dlimg.builders.load import temporary_image
from dlimg.builders.loopback_registry import Content
from dlimg.builders.secrets import Secrets
from dlimg.engine.client import Engine
from dlimg.errors import BadInput
from dlimg.model import Image, PlannedImage
from dlimg.store.image_manifest import AssembledImage, ImageLayer, LayerRank, make_image
from dlimg.store.maintenance import reading_layers
from dlimg.store.store import Store
from dlimg.store.systems import SystemLayers


class Executor(Protocol):
    """The steps of a build that run programs; both kinds of executor give the same bytes."""

    def system(self, planned: PlannedImage, store: Store, on_line: OnLine) -> SystemLayers:
        """Return the layers of an image's system stage, from the store or built now."""
        ...

    def packages(self, planned: PlannedImage, store: Store, on_line: OnLine) -> tuple[str, ...]:
        """Return the distribution packages in an image, after building what holds them."""
        ...

    def compile(
        self, system: SystemLayers, python: str, store: Store, sources: Sources, spool: Spool
    ) -> BytecodeRanges:
        """Compile sets of Python files in a system; see `compile_python.compile_in`."""
        ...

    def stop(self) -> None:
        """End the compilers that other threads have started, outside of child processes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineExecutor:
    """Builds the system stage with BuildKit and compiles in a container of it."""

    engine: Engine
    secrets: Secrets
    find_links: Sequence[Path] = ()

    def system(self, planned: PlannedImage, store: Store, on_line: OnLine) -> SystemLayers:
        return build_system(planned, store, self._tools(on_line))

    def packages(self, planned: PlannedImage, store: Store, on_line: OnLine) -> tuple[str, ...]:
        """Return those of the system; build the whole image if later stages may install more."""
        if planned.image.layers_obstacle:
            return build_for_packages(planned, self._tools(on_line), self.find_links)
        return self.system(planned, store, on_line).packages

    def compile(
        self, system: SystemLayers, python: str, store: Store, sources: Sources, spool: Spool
    ) -> BytecodeRanges:
        image_layers = [
            ImageLayer(layer=layer, rank=LayerRank.SYSTEM, history="") for layer in system.layers
        ]
        architecture = self.engine.architecture
        image = make_image(image_layers, system.config, system.config.labels, architecture)
        with (
            reading_layers(store, image.layers),
            temporary_image(
                self.engine, image.manifest, image.digest, blobs(image, store)
            ) as image_id,
        ):
            return compile_python.compile_in(self.engine, image_id, python, sources, spool)

    def stop(self) -> None:
        compile_python.stop_compilers(self.engine)

    def _tools(self, on_line: OnLine) -> SystemBuildTools:
        return SystemBuildTools(
            engine=self.engine,
            secrets=self.secrets.files,
            arguments=self.secrets.arguments,
            on_line=on_line,
            log=discard,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostExecutor:
    """Builds the system stage and compiles in a folder of this host, without an engine."""

    secrets: Secrets

    def system(self, planned: PlannedImage, store: Store, on_line: OnLine) -> SystemLayers:  # noqa: ARG002
        def build() -> SystemLayers:
            return host_rootfs.build_system(
                planned,
                store,
                secrets=self.secrets.files,
                arguments=self.secrets.arguments,
                log=discard,
            )

        return load_or_build_system(planned, store, build, discard)

    def packages(self, planned: PlannedImage, store: Store, on_line: OnLine) -> tuple[str, ...]:
        check_eligible(planned.image)
        return self.system(planned, store, on_line).packages

    def compile(
        self, system: SystemLayers, python: str, store: Store, sources: Sources, spool: Spool
    ) -> BytecodeRanges:
        return host_rootfs.compile_in(system, store, python, sources, spool)

    def stop(self) -> None:
        """Do nothing: all work runs in child processes."""


def check_eligible(image: Image) -> None:
    """Raise BadInput for an image that cannot be assembled from layers."""
    reason = image.layers_obstacle
    if reason:
        raise BadInput(reason, where=image.cell.id, hint="build it with `--builder buildkit`")


def blobs(image: AssembledImage, store: Store) -> Mapping[str, Content]:
    """Return the image's layers and config by digest, for a registry to serve."""
    layers: dict[str, Content] = {layer.digest: store.blob(layer) for layer in image.layers}
    return {**layers, image.config_digest: image.config}


def discard(_: str) -> None:
    """Drop a message that the progress display already shows as a step in progress."""
