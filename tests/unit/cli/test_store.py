"""`dlimg store`: what is kept, what uses it, what is damaged, what goes, and out as a layout."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.assembly.cell_layer import cell_layer_files
from dlimg.assembly.wheel_to_layer import is_large, small_wheels_keys, wheel_keys
from dlimg.cli.main import main
from dlimg.cli.printing import log
from dlimg.cli.prune import log_store_size
from dlimg.context import Context
from dlimg.layer.compress import splice_wheel_streams
from dlimg.layer.tar import TarHead
from dlimg.model import Base, BaseSource, Image, PlannedImage
from dlimg.pipeline.images import locked_images
from dlimg.pipeline.project import read_project
from dlimg.render.content_key import with_key
from dlimg.render.image_config import ImageConfig, image_config
from dlimg.store.image_manifest import (
    AssembledImage,
    ImageLayer,
    LayerRank,
    assemble_image,
    order_layers,
)
from dlimg.store.images import save_image, saved_images
from dlimg.store.keys import Layer, LayerKey
from dlimg.store.maintenance import hold_store
from dlimg.store.store import Store, find_layer, make_layer
from dlimg.store.systems import system_layer_key
from tests.support.jax_project import CELL, OTHER, ROOT, enter_project

STRANGER = LayerKey(kind="wheel", source="f" * 64)


class Kept:
    """A project whose one image was assembled, from layers that hold a few bytes each."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(path=folder / "cache/dlimg/layers")
        project = read_project(str(folder / "matrix.yaml"))
        (self.image,) = locked_images(project, project.resolution.cells[1:])
        assert self.image.cell.id == CELL
        self.keys = _keys(self.image)
        self.assembled = self.assemble()

    def assemble(
        self, *, compression: str = "gzip", identity: str = "sha256:1", packages: str = "sha256:2"
    ) -> AssembledImage:
        base = Base(os="debian13", source=BaseSource.BOOTSTRAP, identity=identity, reference="")
        planned = PlannedImage(image=self.image, base=base, key="", compression=compression)
        planned = with_key(planned, packages)
        layers = [self.layer(key) for key in self.keys]
        layers.append(self.system(identity + packages))
        parts = [
            ImageLayer(layer=one, history=one.digest, rank=LayerRank.SMALL_WHEELS) for one in layers
        ]
        config = image_config(self.image.cell, self.image.labels).on(_EMPTY)
        image = assemble_image(planned, order_layers(parts), config)
        save_image(self.store, image)
        return image

    def layer(self, key: LayerKey, *, description: str = "") -> Layer:
        head = TarHead(str(key).encode())
        write = lambda file: splice_wheel_streams([head], file.write)  # noqa: E731
        return make_layer(self.store, key, write, print, description=description)

    def system(self, identity: str) -> Layer:
        head = TarHead(identity.encode())
        diff_id = splice_wheel_streams([head], len).diff_id
        key = system_layer_key(diff_id)
        return make_layer(
            self.store, key, lambda file: splice_wheel_streams([head], file.write), print
        )

    def spoil(self, key: LayerKey) -> None:
        layer = find_layer(self.store, key)
        assert layer
        blob = self.store.blob(layer)
        blob.write_bytes(b"x" * layer.size)


_EMPTY = ImageConfig(
    env=(), labels={}, workdir="", user="", entrypoint=(), cmd=(), exposed=(), shell=()
)


def _keys(image: Image) -> list[LayerKey]:
    wheels, python = image.lock.wheels, image.lock.python
    small = [wheel for wheel in wheels if not is_large(wheel)]
    return [
        *(wheel_keys(wheel, python=python)[0] for wheel in wheels if is_large(wheel)),
        small_wheels_keys(small, python=python)[0],
        cell_layer_files(image.cell, image.lock).key(),
    ]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    enter_project(tmp_path, monkeypatch, CELL)
    return Kept(tmp_path)


Printed = Callable[[], list[dict[str, object]]]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    def found() -> list[dict[str, object]]:
        listed: list[dict[str, object]] = json.loads(capsys.readouterr().out)
        return listed

    return found


def test_stored_layers_are_described(kept: Kept, printed: Printed) -> None:
    kept.layer(STRANGER, description="torch 2.15.0")
    assert main(["store", "ls", "--format", "json"]) == 0
    by_source = {one["source"]: one for one in printed()}
    stranger = by_source.pop(STRANGER.source)
    assert (stranger["what"], stranger["cells"], stranger["kind"]) == ("torch 2.15.0", [], "wheel")
    assert len(by_source) == len(kept.keys) + 1
    assert {tuple(one["cells"]) for one in by_source.values()} == {(CELL,)}  # type: ignore[arg-type]
    # What was kept without words has those of the lock.
    whats = {str(one["what"]).partition(" ")[0] for one in by_source.values()}
    assert {"jaxlib", "numpy", "scipy"} <= whats


def test_the_table_of_stored_layers(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    kept.layer(replace(STRANGER, compression="zstd9"), description="a 1, b 2, c 3, d 4, e 5")
    assert main(["store", "ls"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("kind\tcontent\tPython\tsize")
    row = next(line for line in out.splitlines() if "(zstd9)" in line)
    assert row.split("\t")[:3] == ["wheel (zstd9)", "a 1, b 2, c 3 and 2 more", "any"]
    assert "no cell" in row
    assert "no cell uses 1 of them" in err
    assert "store prune" in err


def test_without_a_matrix_nothing_is_known_to_use_it(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("matrix.yaml").unlink()
    assert main(["store", "ls"]) == 0
    assert "no matrix here" in capsys.readouterr().err
    assert main(["store", "verify"]) == 0
    assert main(["store", "prune"]) == 2
    assert main(["store", "export", CELL, "out"]) == 2
    assert find_layer(kept.store, kept.keys[0])


def test_verify_names_what_is_damaged_and_removes_it(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", "verify"]) == 0
    assert "all good" in capsys.readouterr().err
    kept.spoil(kept.keys[0])
    assert main(["store", "verify"]) == 1
    assert "damaged, and removed: wheel jaxlib" in capsys.readouterr().err
    assert main(["store", "verify"]) == 0
    assert find_layer(kept.store, kept.keys[0]) is None
    assert kept.assemble() == kept.assembled
    kept.spoil(kept.keys[0])
    assert main(["store", "verify", "--format", "json"]) == 1
    (text,) = json.loads(capsys.readouterr().out)["damaged"]
    assert str(kept.keys[0]) in text


def test_prune_keeps_what_a_cell_uses(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    kept.layer(STRANGER)
    kept.assemble(compression="zstd3", identity="sha256:2")  # another setting than the matrix has
    orphan = kept.system("sha256:3")
    for name, text in {"a.json": "{}", "junk": "x"}.items():
        (kept.store.path / "systems").mkdir(exist_ok=True)
        (kept.store.path / "systems" / name).write_text(text)
    fetched = kept.store.path.parent / "fetched"
    fetched.mkdir()
    wanted = kept.image.lock.wheels[0]
    for name in (wanted.file, "old-1.0-py3-none-any.whl", f"{wanted.sha256}.half", "old.half"):
        (fetched / name).write_bytes(b"x")
    assert main(["store", "prune", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["removed"]["layers"] == 3
    assert told["kept"]["layers"] == len(kept.keys) + 1
    assert told["removed"]["bytes"] > orphan.size
    assert all(find_layer(kept.store, key) for key in kept.keys)
    assert [one.digest for one in saved_images(kept.store)] == [kept.assembled.digest]
    assert not kept.store.blob(orphan).exists()
    assert not any((kept.store.path / "systems").iterdir())
    assert sorted(path.name for path in fetched.iterdir()) == sorted(
        [wanted.file, f"{wanted.sha256}.half"]
    )
    assert main(["store", "prune"]) == 0
    assert "0 layers removed, 0 B are free again" in capsys.readouterr().err


def test_of_a_moved_distribution_the_latest_stays(kept: Kept) -> None:
    """Another base is another image, but older packages on the same base are nobody's any more."""
    kept.assemble(identity="sha256:3")
    for path in (kept.store.path / "images").iterdir():
        os.utime(path, (1, 1))
    latest = kept.assemble(packages="sha256:4")
    assert main(["store", "prune"]) == 0
    digests = [one.digest for one in saved_images(kept.store)]
    assert kept.assembled.digest not in digests
    assert len(digests) == 2
    assert latest.digest in digests
    assert main(["store", "export", CELL, "out"]) == 0
    (entry,) = json.loads(Path("out/index.json").read_text())["manifests"]
    assert entry["digest"] == latest.digest


def test_prune_all_removes_every_layer(kept: Kept) -> None:
    assert main(["store", "prune", "--all"]) == 0
    assert not any(kept.store.blobs.iterdir())
    assert list(saved_images(kept.store)) == []


def test_prune_waits_for_no_build(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    with hold_store(kept.store):
        assert main(["store", "prune", "--all"]) == 1
    assert "another dlimg is using" in capsys.readouterr().err
    assert all(find_layer(kept.store, key) for key in kept.keys)


def test_an_image_is_exported_as_an_oci_layout(kept: Kept, printed: Printed) -> None:
    assert main(["store", "export", "*py3.13*", "out", "--format", "json"]) == 0
    (one,) = printed()
    assert one["digest"] == kept.assembled.digest
    index = json.loads(Path("out/index.json").read_text())
    (entry,) = index["manifests"]
    assert entry["digest"] == kept.assembled.digest
    assert entry["annotations"] == {
        "org.opencontainers.image.ref.name": CELL,
        "io.containerd.image.name": "docker.io/dlimg/jax:0.12.0.1-cpu-py3.13-debian13",
    }
    assert json.loads(Path("out/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    blobs = Path("out/blobs/sha256")
    manifest = json.loads((blobs / entry["digest"].removeprefix("sha256:")).read_text())
    for blob in (*manifest["layers"], manifest["config"]):
        path = blobs / blob["digest"].removeprefix("sha256:")
        assert path.stat().st_size == blob["size"]
    layer = kept.assembled.layers[0]
    assert (blobs / layer.digest.removeprefix("sha256:")).samefile(kept.store.blob(layer))


def test_an_export_is_added_to_a_layout(kept: Kept) -> None:
    assert main(["store", "export", CELL, "out"]) == 0
    path = Path("out/index.json")
    index = json.loads(path.read_text())
    strange = {"digest": "sha256:1", "annotations": {"org.opencontainers.image.ref.name": "else"}}
    index["manifests"] += [strange]
    path.write_text(json.dumps(index))
    assert main(["store", "export", CELL, "out"]) == 0
    found = json.loads(path.read_text())["manifests"]
    assert [one["digest"] for one in found] == ["sha256:1", kept.assembled.digest]


def test_what_was_not_assembled_is_not_exported(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = (ROOT / "locks" / f"{OTHER}.json").read_text()
    Path("locks", f"{OTHER}.json").write_text(lock)
    assert main(["store", "export", "*", "out"]) == 1
    err = capsys.readouterr().err
    assert f"{OTHER}: it was not assembled here, or has changed since" in err
    assert f"dlimg build --builder layers {OTHER}" in err
    assert CELL not in err
    assert not Path("out").exists()
    assert main(["store", "export", CELL, "out", "--compression", "zstd"]) == 1
    err = capsys.readouterr().err
    assert "not assembled here with zstd:3" in err
    # What the hint says is to be taken by the command it names.
    assert f"`dlimg build --builder layers --compression zstd:3 {CELL}`" in err
    kept.spoil(kept.keys[0])
    kept.store.blob(kept.assembled.layers[0]).unlink()
    assert main(["store", "export", CELL, "out"]) == 1


def test_a_change_of_the_cell_is_seen(kept: Kept) -> None:
    assert kept.image is not None
    matrix = Path("matrix.yaml")
    matrix.write_text(matrix.read_text() + "compression: zstd\n")
    assert main(["store", "export", CELL, "out"]) == 1
    newest = kept.assemble(compression="zstd3")
    assert main(["store", "export", CELL, "out"]) == 0
    index = json.loads(Path("out/index.json").read_text())
    assert [one["digest"] for one in index["manifests"]] == [newest.digest]


def test_a_folder_with_other_things_is_not_written_to(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kept.image is not None
    Path("out").mkdir()
    Path("out/mine").write_text("x")
    assert main(["store", "export", CELL, "out"]) == 2
    assert "is not an OCI layout" in capsys.readouterr().err
    assert [path.name for path in Path("out").iterdir()] == ["mine"]
    assert main(["store", "export", CELL, "matrix.yaml"]) == 2


def test_pruning_the_engine_mentions_the_layers(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    log_store_size(Context.of(os.environ, log))
    assert f"of layers are kept in {kept.store.path}" in capsys.readouterr().err
    assert main(["store", "prune", "--all"]) == 0
    capsys.readouterr()
    log_store_size(Context.of(os.environ, log))
    assert capsys.readouterr().err == ""
