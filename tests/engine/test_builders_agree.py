"""The two builders make the same image: files, owners, modes, times, config, and the system."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dlimg.assembly.system import SystemBuildTools, build_system
from dlimg.builders.secrets import secrets_from
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.model import EPOCH, Base, BuiltImage, PlannedImage
from dlimg.store.image_manifest import BUILDER
from dlimg.store.store import Store
from dlimg.store.systems import SystemLayers, load_system, system_source
from tests.support import real_jax, samples, small_images
from tests.support.image_tree import IS_OURS, is_byte_code, tree

pytestmark = pytest.mark.engine


# One cell of each family can be compared: it costs minutes, and so is asked for by hand.
CELLS = os.environ.get("DLIMG_TEST_CELLS", real_jax.CELL).split()


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The digests of one cell, as BuildKit has installed it and as it was assembled."""

    installed: str
    assembled: str


@pytest.fixture(scope="module", params=CELLS)
def pair(
    engine: Engine, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("same")
    digests = {name: built_by(name, request.param, folder) for name in ("buildkit", "layers")}
    yield Pair(installed=digests["buildkit"], assembled=digests["layers"])
    for name, digest in digests.items():
        for tag in engine.sdk.images.get(digest).tags:
            if tag.startswith(f"{registry(name)}/"):
                engine.sdk.images.remove(tag)


def registry(builder: str) -> str:
    return f"dlimg-test-{builder}-{small_images.TOKEN}"


def built_by(builder: str, cell: str, place: Path) -> str:
    """The digest of the cell, built into names that no other test uses."""
    folder = place / builder
    folder.mkdir()
    for name in ("images", "locks"):
        (folder / name).symlink_to(real_jax.ROOT / name)
    text = (real_jax.ROOT / "matrix.yaml").read_text()
    names = f"registry: {registry(builder)}\n"
    (folder / "matrix.yaml").write_text(text.replace("registry: dlimg\n", names))
    ended = subprocess.run(
        [sys.executable, "-m", "dlimg", "build", "--builder", builder, "--format", "json", cell],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(real_jax.ROOT),
            "XDG_STATE_HOME": str(folder / "state"),
        },
    )
    assert ended.returncode == 0, ended.stderr
    (line,) = json.loads(ended.stdout)
    return str(line["digest"])


def test_both_builders_make_the_same_files(engine: Engine, pair: Pair) -> None:
    theirs, ours = tree(engine, pair.installed), tree(engine, pair.assembled)
    assert len(ours) > 10_000
    assert sum(map(is_byte_code, ours)) > 2_000
    assert set(theirs) ^ set(ours) == set()
    different = {path: (theirs[path], ours[path]) for path in ours if theirs[path] != ours[path]}
    assert different == {}
    times = {path: file.time for path, file in ours.items() if path.startswith(IS_OURS)}
    # Copied by Python 3.13's `venv` as the distribution's package has it.
    assert {path for path, time in times.items() if time != EPOCH} <= {"opt/env/bin/Activate.ps1"}


def test_both_builders_make_the_same_image_config(engine: Engine, pair: Pair) -> None:
    theirs = engine.sdk.images.get(pair.installed).attrs["Config"]
    ours = engine.sdk.images.get(pair.assembled).attrs["Config"]
    for config, builder in ((theirs, "buildkit"), (ours, BUILDER)):
        assert config["Labels"].pop("io.dlimg.builder") == builder
    # Docker's note on how Windows is to read a command.
    output = {name: value for name, value in theirs.items() if value and name != "ArgsEscaped"}
    assert {name: value for name, value in ours.items() if value} == output


def tools(engine: Engine, lines: list[str]) -> SystemBuildTools:
    return SystemBuildTools(
        engine=engine, secrets={}, arguments={}, on_line=lines.append, log=print
    )


def built(planned: PlannedImage, engine: Engine, store: Store) -> SystemLayers:
    with secrets_from(Context.of(os.environ, print)) as using:
        given = replace(tools(engine, []), secrets=using.files, arguments=using.arguments)
        return build_system(planned, store, given)


@pytest.mark.slow
def test_a_system_is_built_once(
    engine: Engine, jax_image: BuiltImage, base: Base, tmp_path: Path
) -> None:
    planned = replace(jax_image.planned, base=base)
    store = Store(path=tmp_path)
    result = built(planned, engine, store)
    theirs = engine.sdk.images.get(jax_image.digest).attrs["RootFS"]["Layers"]
    assert [layer.diff_id for layer in result.layers] == theirs[-len(result.layers) - 1 : -1]
    for layer in result.layers:
        blob = store.blob(layer).read_bytes()
        assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == layer.digest
    nothing = replace(engine, docker=Path("/nonexistent"))
    assert built(planned, nothing, store) == result
    # A layer that is gone is made again.
    store.blob(result.layers[0]).unlink()
    assert load_system(store, system_source(planned)) is None
    assert built(planned, engine, store) == result


def test_a_failed_system_build_is_reported(engine: Engine, base: Base, tmp_path: Path) -> None:
    text = "FROM debian:trixie-slim AS system\nRUN echo why; exit 7\nFROM system\nRUN true\n"
    planned = samples.planned(samples.image(dockerfile=text), on=base)
    lines: list[str] = []
    with pytest.raises(Negative, match="its system stage did not build"):
        build_system(planned, Store(path=tmp_path), tools(engine, lines))
    assert any("exit code: 7" in line for line in lines)
    assert load_system(Store(path=tmp_path), system_source(planned)) is None
