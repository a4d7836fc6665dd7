"""The wheels of a plan to layers in the store: each wheel fetched, spliced and let go once."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from dlimg.layers.addresses import Target
from dlimg.layers.assemble import Part
from dlimg.layers.fetch import Source, fetching
from dlimg.layers.index import Key
from dlimg.layers.make import (
    Workshop,
    is_large,
    small_keys,
    wheel_keys,
    wheel_layer,
)
from dlimg.layers.own_layer import own_part, part_keys
from dlimg.layers.parts import own_layer_part, wheel_parts
from dlimg.layers.store import Store, find
from dlimg.model import Image, Planned, Wheel

PartsOf = Callable[[Image], tuple[Part, ...]]


@contextmanager
def making(
    planned: Sequence[Planned], store: Store, source: Source, shared: Mapping[str, int]
) -> Iterator[PartsOf]:
    """Inside, a function that waits for the layers of an image's wheels and own files.

    `shared` is how many images hold each wheel. The function raises what `fetching`'s does, and
    BadInput for wheels that cannot become layers; other images are not touched by it.
    """
    pythons = _pythons(planned)
    with (
        fetching(missing(planned, store), source) as locate,
        ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool,
    ):
        workshop = Workshop(store=store, locate=locate, say=source.say)
        tasks = {
            wheel: pool.submit(_make, workshop, wheel, pythons[wheel], source.folder)
            for wheel in pythons
        }
        try:
            yield lambda image: _parts(workshop, image, tasks, shared)
        finally:
            pool.shutdown(cancel_futures=True)


def missing(planned: Sequence[Planned], store: Store) -> Mapping[Target, Sequence[Wheel]]:
    """The wheels that must be on disk for what is not in the store yet, the largest first."""
    found: dict[Target, dict[Wheel, None]] = {}
    for one in planned:
        lock = one.image.lock
        group = found.setdefault((lock.python, lock.platform), {})
        group.update(dict.fromkeys(_missing(one.image, store)))
    return {target: sorted(group, key=lambda wheel: -wheel.size) for target, group in found.items()}


def _missing(image: Image, store: Store) -> Iterator[Wheel]:
    lock = image.lock
    small = [wheel for wheel in lock.wheels if not is_large(wheel)]
    no_small = not _is_in(store, small_keys(small, python=lock.python))
    for wheel in lock.wheels:
        parts = part_keys(wheel, python=lock.python, requested=True)
        large = is_large(wheel)
        no_layer = no_small if not large else not _is_in(store, _keys(wheel, lock.python))
        if no_layer or not _is_in(store, parts):
            yield wheel


def _keys(wheel: Wheel, python: str) -> tuple[Key, Key]:
    return wheel_keys(wheel, python=python)


def _is_in(store: Store, keys: Sequence[Key]) -> bool:
    return any(find(store, key) for key in keys)


def _pythons(planned: Sequence[Planned]) -> Mapping[Wheel, tuple[str, ...]]:
    """The Pythons that each wheel is for in this plan, the largest wheel first."""
    found: dict[Wheel, dict[str, None]] = {}
    for one in planned:
        for wheel in one.image.lock.wheels:
            found.setdefault(wheel, {})[one.image.lock.python] = None
    ordered = sorted(found, key=lambda wheel: -wheel.size)
    return {wheel: tuple(found[wheel]) for wheel in ordered}


def _make(workshop: Workshop, wheel: Wheel, pythons: Sequence[str], fetched: Path) -> None:
    """All that any image needs from this wheel; then what was fetched for it can go.

    Small wheels stay, because each set of them is a layer of its own.
    """
    for python in pythons:
        if is_large(wheel):
            wheel_layer(workshop, wheel, python=python)
        own_part(workshop, wheel, python=python, requested=True)
    if is_large(wheel):
        (fetched / wheel.file).unlink(missing_ok=True)


def _parts(
    workshop: Workshop,
    image: Image,
    tasks: Mapping[Wheel, Future[None]],
    shared: Mapping[str, int],
) -> tuple[Part, ...]:
    for wheel in image.lock.wheels:
        tasks[wheel].result()
    return (*wheel_parts(workshop, image, shared), own_layer_part(workshop, image))
