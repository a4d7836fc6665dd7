"""The wheels of a plan to layers in the store: each wheel fetched, spliced and let go once."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from dlimg.model import GZIP, Image, PlannedImage, Wheel
from dlimg.pypi.wheel_urls import Target
from dlimg.store.keys import LayerKey
from dlimg.store.store import Store, find_layer


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelLayerJobs:
    """Wheels at work: `await_all` returns when nothing of an image's wheels is missing."""

    workshop: LayerContext
    await_all: Callable[[Image], None]


@contextmanager
def making_wheel_layers(
    planned: Sequence[PlannedImage], store: Store, source: WheelSource
) -> Iterator[WheelLayerJobs]:
    """Inside, layers and parts of all wheels are made, the largest wheel first.

    `await_all` raises what `fetching`'s function does, and BadInput for wheels that cannot
    become layers; other images are not touched by it. All are made for one compression.
    """
    pythons = _pythons_by_wheel(planned)
    compression = planned[0].compression if planned else GZIP
    with (
        downloading(missing_wheels(planned, store), source) as locate,
        ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool,
    ):
        workshop = LayerContext(store=store, locate=locate, say=source.say, compression=compression)
        tasks = {
            wheel: pool.submit(_make_layers, workshop, wheel, pythons[wheel], source.folder)
            for wheel in pythons
        }
        try:
            yield WheelLayerJobs(
                workshop=workshop, await_all=lambda image: _await_wheels(image, tasks)
            )
        finally:
            pool.shutdown(cancel_futures=True)


def missing_wheels(
    planned: Sequence[PlannedImage], store: Store
) -> Mapping[Target, Sequence[Wheel]]:
    """The wheels that must be on disk for what is not in the store yet, the largest first."""
    found: dict[Target, dict[Wheel, None]] = {}
    for one in planned:
        lock = one.image.lock
        group = found.setdefault((lock.python, lock.platform), {})
        group.update(dict.fromkeys(_missing_of_image(one, store)))
    return {target: sorted(group, key=lambda wheel: -wheel.size) for target, group in found.items()}


def _missing_of_image(planned: PlannedImage, store: Store) -> Iterator[Wheel]:
    lock, compression = planned.image.lock, planned.compression
    python = lock.python
    small = [wheel for wheel in lock.wheels if not is_large(wheel)]
    of_small = small_wheels_keys(small, python=python, compression=compression)
    for wheel in lock.wheels:
        of_wheel = wheel_keys(wheel, python=python, compression=compression)
        wanted = (
            of_wheel if is_large(wheel) else of_small,
            installer_keys(wheel, python=python, requested=True),
            python_source_keys(wheel, python=python),
        )
        if not all(_is_in(store, keys) for keys in wanted):
            yield wheel


def _is_in(store: Store, keys: Sequence[LayerKey]) -> bool:
    return any(find_layer(store, key) for key in keys)


def _pythons_by_wheel(planned: Sequence[PlannedImage]) -> Mapping[Wheel, tuple[str, ...]]:
    """The Pythons that each wheel is for in this plan, the largest wheel first."""
    found: dict[Wheel, dict[str, None]] = {}
    for one in planned:
        for wheel in one.image.lock.wheels:
            found.setdefault(wheel, {})[one.image.lock.python] = None
    ordered = sorted(found, key=lambda wheel: -wheel.size)
    return {wheel: tuple(found[wheel]) for wheel in ordered}


def _make_layers(
    workshop: LayerContext, wheel: Wheel, pythons: Sequence[str], fetched: Path
) -> None:
    """All that any image needs from this wheel; then what was fetched for it can go.

    Small wheels stay, because each set of them is a layer of its own.
    """
    for python in pythons:
        if is_large(wheel):
            wheel_to_layer(workshop, wheel, python=python)
        installer_layer(workshop, wheel, python=python, requested=True)
        python_sources(workshop, wheel, python=python)
    if is_large(wheel):
        (fetched / wheel.file).unlink(missing_ok=True)


def _await_wheels(image: Image, tasks: Mapping[Wheel, Future[None]]) -> None:
    for wheel in image.lock.wheels:
        tasks[wheel].result()
