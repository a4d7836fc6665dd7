"""Layers of all wheels of a build: each wheel once, from folders or an index."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from dlimg.assembly import wheel_to_layer
from dlimg.assembly.cell_layer import installer_keys
from dlimg.assembly.download import WheelSource
from dlimg.assembly.wheel_layers import making_wheel_layers, missing_wheels
from dlimg.assembly.wheel_to_layer import python_source_keys
from dlimg.host.file_lock import file_lock
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


def test_a_large_wheel_is_in_use_by_one_process_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one may be about to remove its download."""
    monkeypatch.setattr(wheel_to_layer, "LARGE_WHEEL", 1)
    wheel = wheel_files.locked(wheel_files.wheel(tmp_path))
    image, store = planned(wheel), Store(path=tmp_path / "store")
    keys = wheel_to_layer.wheel_keys(
        wheel, python=image.image.lock.python, compression=image.compression
    )
    lock = store.locks / f"download-{wheel.sha256}"
    with ExitStack() as other:
        other.enter_context(file_lock(lock, doing="a test", log=print))
        with making_wheel_layers([image], store, source(tmp_path)) as running:
            time.sleep(0.3)
            assert not any(find_layer(store, key) for key in keys)
            other.close()
            running.await_all(image.image)
    assert any(find_layer(store, key) for key in keys)


def test_wheels_are_missing_until_the_store_has_their_layers(tmp_path: Path) -> None:
    wheel = wheel_files.locked(wheel_files.wheel(tmp_path))
    image = planned(wheel)
    missing = missing_wheels([image], Store(path=tmp_path / "store"))
    assert list(missing.values()) == [[wheel]]
