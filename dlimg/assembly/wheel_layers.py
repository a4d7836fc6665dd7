"""Layers of all wheels of a build, made in the background: each wheel is read once."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dlimg.assembly.cell_layer import installer_keys, installer_layer
from dlimg.assembly.download import WheelSource, downloading
from dlimg.assembly.wheel_to_layer import (
    LayerContext,
    is_large,
    python_source_keys,
    python_sources,
    small_wheels_keys,
    wheel_keys,
    wheel_to_layer,
)
from dlimg.host.file_lock import file_lock
from dlimg.model import GZIP, Image, PlannedImage, Wheel
from dlimg.pypi.uv_queries import Target
from dlimg.store.keys import LayerKey
from dlimg.store.store import Store, find_layer


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelLayerJobs:
    """The running jobs that make wheel layers, by the wheels' sha256, and their context."""

    context: LayerContext
    jobs: Mapping[str, Future[None]]

    def await_all(self, image: Image) -> None:
        """Wait until the store has everything that the image needs from its wheels.

        Raises as `downloading`'s function, and BadInput for a wheel that cannot become a layer.
        """
        for wheel in image.lock.wheels:
            self.jobs[wheel.sha256].result()


@contextmanager
def making_wheel_layers(
    planned: Sequence[PlannedImage], store: Store, source: WheelSource
) -> Iterator[WheelLayerJobs]:
    """Make the layers of all wheels of these images in threads, the largest wheel first.

    A failure affects only the images with that wheel. All images have one compression.
    """
    pythons = _pythons_by_wheel(planned)
    compression = planned[0].compression if planned else GZIP
    with (
        downloading(missing_wheels(planned, store), source) as locate,
        ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool,
    ):
        context = LayerContext(store=store, locate=locate, log=source.log, compression=compression)
        jobs = {
            wheel.sha256: pool.submit(_make_layers, context, wheel, versions, source.folder)
            for wheel, versions in pythons
        }
        try:
            yield WheelLayerJobs(context=context, jobs=jobs)
        finally:
            pool.shutdown(cancel_futures=True)


def missing_wheels(
    planned: Sequence[PlannedImage], store: Store
) -> Mapping[Target, Sequence[Wheel]]:
    """Return the wheels that are needed for layers that the store lacks, the largest first."""
    by_target: dict[Target, dict[Wheel, None]] = {}
    for image in planned:
        lock = image.image.lock
        wheels = by_target.setdefault((lock.python, lock.platform), {})
        wheels.update(dict.fromkeys(_missing_of_image(image, store)))
    return {
        target: sorted(wheels, key=lambda wheel: -wheel.size)
        for target, wheels in by_target.items()
    }


def _missing_of_image(planned: PlannedImage, store: Store) -> Iterator[Wheel]:
    lock, compression = planned.image.lock, planned.compression
    python = lock.python
    small = [wheel for wheel in lock.wheels if not is_large(wheel)]
    small_keys = small_wheels_keys(
        small, python=python, compression=compression, shared=lock.shared_paths
    )
    for wheel in lock.wheels:
        large_keys = wheel_keys(wheel, python=python, compression=compression)
        needed = (
            large_keys if is_large(wheel) else small_keys,
            installer_keys(wheel, python=python, requested=True),
            python_source_keys(wheel, python=python),
        )
        if not all(_has_any(store, keys) for keys in needed):
            yield wheel


def _has_any(store: Store, keys: Sequence[LayerKey]) -> bool:
    return any(find_layer(store, key) for key in keys)


def _pythons_by_wheel(planned: Sequence[PlannedImage]) -> list[tuple[Wheel, tuple[str, ...]]]:
    """Return each wheel once with the Pythons that it is needed for, the largest wheel first."""
    # By sha256, because locks may mark one wheel differently.
    wheels: dict[str, Wheel] = {}
    pythons: dict[str, dict[str, None]] = {}
    for image in planned:
        for wheel in image.image.lock.wheels:
            wheels.setdefault(wheel.sha256, wheel)
            pythons.setdefault(wheel.sha256, {})[image.image.lock.python] = None
    ordered = sorted(wheels.values(), key=lambda wheel: -wheel.size)
    return [(wheel, tuple(pythons[wheel.sha256])) for wheel in ordered]


def _make_layers(
    context: LayerContext, wheel: Wheel, pythons: Sequence[str], downloads: Path
) -> None:
    """Make everything that images need from this wheel, then remove its download.

    Small wheels stay, because each set of them is another layer. A large wheel is in use by one
    process at a time, so that no other reads what is removed.
    """
    if not is_large(wheel):
        _make_other_layers(context, wheel, pythons)
        return
    lock = context.store.locks / f"download-{wheel.sha256}"
    with file_lock(lock, doing=f"making layers of {wheel.file}", log=context.log):
        for python in pythons:
            wheel_to_layer(context, wheel, python=python)
        _make_other_layers(context, wheel, pythons)
        (downloads / wheel.file).unlink(missing_ok=True)


def _make_other_layers(context: LayerContext, wheel: Wheel, pythons: Sequence[str]) -> None:
    for python in pythons:
        installer_layer(context, wheel, python=python, requested=True)
        python_sources(context, wheel, python=python)
