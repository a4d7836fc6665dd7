"""Layers of all wheels of a build: each wheel once, from folders or an index."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import requests

from dlimg.assembly.cell_layer import installer_keys
from dlimg.assembly.download import WheelSource
from dlimg.assembly.wheel_layers import making_wheel_layers, missing_wheels
from dlimg.assembly.wheel_to_layer import python_source_keys
from dlimg.model import PlannedImage, Wheel
from dlimg.pypi.uv_queries import Target
from dlimg.store.store import Store, find_layer
from tests.support import samples, wheel_files


def planned(wheel: Wheel) -> PlannedImage:
    cell = samples.cell(package=wheel.name, version=wheel.version)
    lock = samples.lock(cell.id, wheels=(wheel,))
    return samples.planned(samples.image(cell, locked=lock))


def source(folder: Path) -> WheelSource:
    def no_urls(_wheels: Sequence[Wheel], _target: Target) -> Mapping[str, str]:
        raise AssertionError

    return WheelSource(
        folders=(folder,),
        folder=folder / "fetched",
        find_urls=no_urls,
        session=requests.Session(),
        log=print,
    )


def test_a_wheel_that_locks_mark_differently_is_made_once(tmp_path: Path) -> None:
    wheel = wheel_files.locked(wheel_files.wheel(tmp_path))
    images = [planned(wheel), planned(replace(wheel, shared=True))]
    store = Store(path=tmp_path / "store")
    with making_wheel_layers(images, store, source(tmp_path)) as running:
        for image in images:
            running.await_all(image.image)
        assert list(running.jobs) == [wheel.sha256]
    python = images[0].image.lock.python
    for keys in (
        installer_keys(wheel, python=python, requested=True),
        python_source_keys(wheel, python=python),
    ):
        assert any(find_layer(store, key) for key in keys)


def test_wheels_are_missing_until_the_store_has_their_layers(tmp_path: Path) -> None:
    wheel = wheel_files.locked(wheel_files.wheel(tmp_path))
    image = planned(wheel)
    missing = missing_wheels([image], Store(path=tmp_path / "store"))
    assert list(missing.values()) == [[wheel]]
