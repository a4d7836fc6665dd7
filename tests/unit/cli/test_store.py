"""`dlimg store`: what is kept, what uses it, what is damaged, what goes, and out as a layout."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.cli.main import main
from dlimg.cli.printing import log
from dlimg.cli.prune import log_store_size
from dlimg.context import Context
from dlimg.store.images import saved_images
from dlimg.store.keys import LayerKey
from dlimg.store.maintenance import hold_store
from dlimg.store.store import find_layer
from tests.support.jax_project import CELL, OTHER, ROOT
from tests.support.stored_project import StoredProject

STRANGER = LayerKey(kind="wheel", source="f" * 64)


Printed = Callable[[], list[dict[str, object]]]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    def found() -> list[dict[str, object]]:
        listed: list[dict[str, object]] = json.loads(capsys.readouterr().out)
        return listed

    return found


def test_stored_layers_are_described(stored: StoredProject, printed: Printed) -> None:
    stored.layer(STRANGER, description="torch 2.15.0")
    assert main(["store", "ls", "--format", "json"]) == 0
    by_source = {one["source"]: one for one in printed()}
    stranger = by_source.pop(STRANGER.source)
    assert (stranger["what"], stranger["cells"], stranger["kind"]) == ("torch 2.15.0", [], "wheel")
    assert len(by_source) == len(stored.keys) + 1
    assert {tuple(one["cells"]) for one in by_source.values()} == {(CELL,)}  # type: ignore[arg-type]
    # What was kept without words has those of the lock.
    whats = {str(one["what"]).partition(" ")[0] for one in by_source.values()}
    assert {"jaxlib", "numpy", "scipy"} <= whats


def test_the_table_of_stored_layers(
    stored: StoredProject, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.layer(replace(STRANGER, compression="zstd9"), description="a 1, b 2, c 3, d 4, e 5")
    assert main(["store", "ls"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("kind\tcontent\tPython\tsize")
    row = next(line for line in out.splitlines() if "(zstd9)" in line)
    assert row.split("\t")[:3] == ["wheel (zstd9)", "a 1, b 2, c 3 and 2 more", "any"]
    assert "no cell" in row
    assert "no cell uses 1 of them" in err
    assert "store prune" in err


def test_without_a_matrix_nothing_is_known_to_use_it(
    stored: StoredProject, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("matrix.yaml").unlink()
    assert main(["store", "ls"]) == 0
    assert "no matrix here" in capsys.readouterr().err
    assert main(["store", "verify"]) == 0
    assert main(["store", "prune"]) == 2
    assert main(["store", "export", CELL, "out"]) == 2
    assert find_layer(stored.store, stored.keys[0])


def test_verify_names_what_is_damaged_and_removes_it(
    stored: StoredProject, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", "verify"]) == 0
    assert "all good" in capsys.readouterr().err
    stored.spoil(stored.keys[0])
    assert main(["store", "verify"]) == 1
    assert "damaged, and removed: wheel jaxlib" in capsys.readouterr().err
    assert main(["store", "verify"]) == 0
    assert find_layer(stored.store, stored.keys[0]) is None
    assert stored.assemble() == stored.assembled
    stored.spoil(stored.keys[0])
    assert main(["store", "verify", "--format", "json"]) == 1
    (text,) = json.loads(capsys.readouterr().out)["damaged"]
    assert str(stored.keys[0]) in text


def test_prune_keeps_what_a_cell_uses(
    stored: StoredProject, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.layer(STRANGER)
    # Made for an engine that reads no zstd, or by the option: it is current, and stays.
    gzip = stored.assemble(compression="gzip", identity="sha256:2")
    orphan = stored.system("sha256:3")
    for name, text in {"a.json": "{}", "junk": "x"}.items():
        (stored.store.path / "systems").mkdir(exist_ok=True)
        (stored.store.path / "systems" / name).write_text(text)
    fetched = stored.store.path.parent / "fetched"
    fetched.mkdir()
    wanted = stored.image.lock.wheels[0]
    for name in (wanted.file, "old-1.0-py3-none-any.whl", f"{wanted.sha256}.half", "old.half"):
        (fetched / name).write_bytes(b"x")
    assert main(["store", "prune", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["removed"]["layers"] == 2
    assert told["kept"]["layers"] == 2 * len(stored.keys) + 2
    assert told["removed"]["bytes"] > orphan.size
    assert all(find_layer(stored.store, key) for key in stored.keys)
    digests = {image.digest for image in saved_images(stored.store)}
    assert digests == {stored.assembled.digest, gzip.digest}
    assert not stored.store.blob(orphan).exists()
    assert not any((stored.store.path / "systems").iterdir())
    assert sorted(path.name for path in fetched.iterdir()) == sorted(
        [wanted.file, f"{wanted.sha256}.half"]
    )
    assert main(["store", "prune"]) == 0
    assert "0 layers removed, 0 B are free again" in capsys.readouterr().err


def test_of_a_moved_distribution_the_latest_stays(stored: StoredProject) -> None:
    """Another base is another image, but older packages on the same base are nobody's any more."""
    stored.assemble(identity="sha256:3")
    for path in (stored.store.path / "images").iterdir():
        os.utime(path, (1, 1))
    latest = stored.assemble(packages="sha256:4")
    assert main(["store", "prune"]) == 0
    digests = [image.digest for image in saved_images(stored.store)]
    assert stored.assembled.digest not in digests
    assert len(digests) == 2
    assert latest.digest in digests
    assert main(["store", "export", CELL, "out"]) == 0
    (entry,) = json.loads(Path("out/index.json").read_text())["manifests"]
    assert entry["digest"] == latest.digest


def test_prune_all_removes_every_layer(stored: StoredProject) -> None:
    assert main(["store", "prune", "--all"]) == 0
    assert not any(stored.store.blobs.iterdir())
    assert list(saved_images(stored.store)) == []


def test_prune_waits_for_no_build(
    stored: StoredProject, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_store(stored.store):
        assert main(["store", "prune", "--all"]) == 1
    assert "another dlimg is using" in capsys.readouterr().err
    assert all(find_layer(stored.store, key) for key in stored.keys)


def test_an_image_is_exported_as_an_oci_layout(stored: StoredProject, printed: Printed) -> None:
    assert main(["store", "export", "*py3.13*", "out", "--format", "json"]) == 0
    (one,) = printed()
    assert one["digest"] == stored.assembled.digest
    index = json.loads(Path("out/index.json").read_text())
    (entry,) = index["manifests"]
    assert entry["digest"] == stored.assembled.digest
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
    layer = stored.assembled.layers[0]
    assert (blobs / layer.digest.removeprefix("sha256:")).samefile(stored.store.blob(layer))


def test_an_export_is_added_to_a_layout(stored: StoredProject) -> None:
    assert main(["store", "export", CELL, "out"]) == 0
    path = Path("out/index.json")
    index = json.loads(path.read_text())
    strange = {"digest": "sha256:1", "annotations": {"org.opencontainers.image.ref.name": "else"}}
    index["manifests"] += [strange]
    path.write_text(json.dumps(index))
    assert main(["store", "export", CELL, "out"]) == 0
    answer = json.loads(path.read_text())["manifests"]
    assert [manifest["digest"] for manifest in answer] == ["sha256:1", stored.assembled.digest]


def test_what_was_not_assembled_is_not_exported(
    stored: StoredProject, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = (ROOT / "locks" / f"{OTHER}.json").read_text()
    Path("locks", f"{OTHER}.json").write_text(lock)
    assert main(["store", "export", "*", "out"]) == 1
    err = capsys.readouterr().err
    assert f"{OTHER}: it was not assembled here, or has changed since" in err
    assert f"dlimg build --builder layers {OTHER}" in err
    assert CELL not in err
    assert not Path("out").exists()
    assert main(["store", "export", CELL, "out", "--compression", "gzip"]) == 1
    err = capsys.readouterr().err
    assert "not assembled here with gzip" in err
    # What the hint says is to be taken by the command it names.
    assert f"`dlimg build --builder layers --compression gzip {CELL}`" in err
    stored.spoil(stored.keys[0])
    stored.store.blob(stored.assembled.layers[0]).unlink()
    assert main(["store", "export", CELL, "out"]) == 1


def test_without_a_stated_compression_the_newest_image_is_exported(stored: StoredProject) -> None:
    for path in (stored.store.path / "images").iterdir():
        os.utime(path, (1, 1))
    gzip = stored.assemble(compression="gzip")

    def exported(*options: str) -> str:
        assert main(["store", "export", CELL, "out", *options]) == 0
        (entry,) = json.loads(Path("out/index.json").read_text())["manifests"]
        return str(entry["digest"])

    assert exported() == gzip.digest
    assert exported("--compression", "zstd") == stored.assembled.digest
    assert exported("--compression", "gzip") == gzip.digest


def test_a_change_of_the_cell_is_seen(stored: StoredProject) -> None:
    assert stored.image is not None
    matrix = Path("matrix.yaml")
    matrix.write_text(matrix.read_text() + "compression: gzip\n")
    assert main(["store", "export", CELL, "out"]) == 1
    newest = stored.assemble(compression="gzip")
    assert main(["store", "export", CELL, "out"]) == 0
    index = json.loads(Path("out/index.json").read_text())
    assert [manifest["digest"] for manifest in index["manifests"]] == [newest.digest]


def test_a_folder_with_other_things_is_not_written_to(
    stored: StoredProject, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stored.image is not None
    Path("out").mkdir()
    Path("out/mine").write_text("x")
    assert main(["store", "export", CELL, "out"]) == 2
    assert "is not an OCI layout" in capsys.readouterr().err
    assert [path.name for path in Path("out").iterdir()] == ["mine"]
    assert main(["store", "export", CELL, "matrix.yaml"]) == 2


def test_pruning_the_engine_mentions_the_layers(
    stored: StoredProject, capsys: pytest.CaptureFixture[str]
) -> None:
    log_store_size(Context.of(os.environ, log))
    assert f"of layers are kept in {stored.store.path}" in capsys.readouterr().err
    assert main(["store", "prune", "--all"]) == 0
    capsys.readouterr()
    log_store_size(Context.of(os.environ, log))
    assert capsys.readouterr().err == ""
