"""Layers of wheels that fill one Python file differently, and of a project's own files."""

import gzip
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.additions import Additions, ProjectFile
from dlimg.assembly.cell_layer import CellLayerFiles, cell_layer, cell_layer_files
from dlimg.assembly.wheel_to_layer import (
    LayerContext,
    small_wheels_keys,
    small_wheels_to_layer,
)
from dlimg.errors import BadInput
from dlimg.model import SharedPath, Wheel
from dlimg.store.keys import Layer
from dlimg.store.store import Store
from tests.support import samples, wheel_files

FILE = "opt/env/lib/python/site-packages/both/__init__.py"
SHARED = (SharedPath(path="both/__init__.py", owner="one", replaced=("two",), why="comments"),)


@pytest.fixture
def context(tmp_path: Path) -> LayerContext:
    return LayerContext(
        store=Store(path=tmp_path / "store"),
        locate=lambda wheel: tmp_path / wheel.file,
        log=lambda _: None,
    )


@pytest.fixture
def wheels(tmp_path: Path) -> tuple[Wheel, ...]:
    return tuple(
        wheel_files.locked(
            wheel_files.wheel(
                tmp_path, name, {"both/__init__.py": f"# {name}\n", f"both/{name}.py": ""}
            )
        )
        for name in ("two", "one")
    )


def files(context: LayerContext, layer: Layer) -> dict[str, bytes]:
    content = gzip.decompress(context.store.blob(layer).read_bytes())
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {
            member.name: file.read()
            for member in archive
            if member.isfile() and (file := archive.extractfile(member))
        }


def test_small_wheels_leave_out_what_another_replaces(
    context: LayerContext, wheels: tuple[Wheel, ...]
) -> None:
    with pytest.raises(BadInput, match="different contents"):
        small_wheels_to_layer(context, wheels, python="3.13")
    layer = small_wheels_to_layer(context, wheels, python="3.13", shared=SHARED)
    assert files(context, layer)[FILE] == b"# one\n"
    plain = small_wheels_keys(wheels, python="3.13")
    assert small_wheels_keys(wheels, python="3.13", shared=SHARED) != plain
    others = (replace(SHARED[0], replaced=("three",)),)
    assert small_wheels_keys(wheels, python="3.13", shared=others) == plain


def test_the_cells_layer_has_the_owners_file_above_all_wheels(
    context: LayerContext, wheels: tuple[Wheel, ...]
) -> None:
    plain = CellLayerFiles(
        wheels=wheels, python="3.13", requested=frozenset(), files={}, packages=""
    )
    shared = replace(plain, shared=SHARED)
    assert files(context, cell_layer(context, shared))[FILE] == b"# one\n"
    assert FILE not in files(context, cell_layer(context, plain))
    assert shared.key() != plain.key()


def test_files_of_a_project_are_in_the_cells_layer_with_their_modes(
    context: LayerContext, wheels: tuple[Wheel, ...]
) -> None:
    lock = samples.lock(wheels=wheels)
    own = (
        ProjectFile(source="a", path="/etc/team/a", mode="644", content=b"a\n"),
        ProjectFile(source="b", path="/usr/local/bin/b", mode="755", content=b"\0\xff"),
    )
    cell = samples.cell()
    plain = cell_layer_files(cell, lock)
    with_files = cell_layer_files(replace(cell, additions=Additions(files=own)), lock)
    assert plain.modes == {}
    assert with_files.modes == {"usr/local/bin/b": 0o755}
    assert with_files.reserved_commands - plain.reserved_commands == {"b"}
    assert with_files.key() != plain.key()
    layer = cell_layer(context, with_files)
    content = files(context, layer)
    assert (content["etc/team/a"], content["usr/local/bin/b"]) == (b"a\n", b"\0\xff")
    with tarfile.open(
        fileobj=io.BytesIO(gzip.decompress(context.store.blob(layer).read_bytes()))
    ) as archive:
        assert archive.getmember("usr/local/bin/b").mode == 0o755
        assert archive.getmember("etc/team/a").mode == 0o644
