"""A store, or what is asked of it, that somebody has spoilt: words and an exit code, no more."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dlimg.cli.main import main
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.images import save_image
from dlimg.store.keys import Layer
from dlimg.store.store import find_layer
from tests.support.jax_project import CELL, ROOT
from tests.support.stored_project import StoredProject

Sabotage = Callable[[StoredProject], None]
ACTIONS = (["ls"], ["export", CELL, "out"], ["verify"], ["prune"])


def entry(text: bytes) -> Sabotage:
    def write(stored: StoredProject) -> None:
        stored.store.entry(stored.keys[0]).write_bytes(text)

    return write


def changed(**values: object) -> Sabotage:
    def spoil(stored: StoredProject) -> None:
        path = stored.store.entry(stored.keys[0])
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return spoil


def swapped(stored: StoredProject) -> None:
    """The entry of each of two layers names the other's blob."""
    first, second = (stored.store.entry(key) for key in stored.keys[:2])
    text = first.read_text()
    first.write_text(second.read_text())
    second.write_text(text)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def pipe_for_a_blob(stored: StoredProject) -> None:
    a_pipe(stored.store.blob(layer_of(stored)))


def pipe_for_an_entry(stored: StoredProject) -> None:
    a_pipe(stored.store.entry(stored.keys[0]))


def pipes_for_images(stored: StoredProject) -> None:
    for path in list((stored.store.path / "images").iterdir()):
        a_pipe(path)


def layer_of(stored: StoredProject) -> Layer:
    layer = find_layer(stored.store, stored.keys[0])
    assert layer
    return layer


def link_to_nowhere(stored: StoredProject) -> None:
    blob = stored.store.blob(layer_of(stored))
    blob.unlink()
    blob.symlink_to("/nowhere")


def another_shape_of_image(stored: StoredProject) -> None:
    """Records whose digests are right, and which no dlimg has written."""
    for config in ("[]", "{}", '{"config": 5}', '{"config": {"Labels": null}}', LABELS):
        digest = f"sha256:{hashlib.sha256(config.encode()).hexdigest()}"
        manifest = json.dumps({"config": {"digest": digest}, "layers": []}).encode()
        name = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        save_image(
            stored.store,
            AssembledImage(manifest=manifest, config=config.encode(), digest=name, layers=()),
        )


LABELS = '{"config": {"Labels": {"io.dlimg.cell": []}}}'


def system(**layer: object) -> Sabotage:
    record = {"layers": [layer], "config": {}, "interpreter": ""}

    def spoil(stored: StoredProject) -> None:
        path = stored.store.path / "systems" / f"{'a' * 64}.json"
        path.parent.mkdir()
        path.write_text(json.dumps(record))

    return spoil


def no_folder(stored: StoredProject) -> None:
    shutil.rmtree(stored.store.path)
    stored.store.path.write_text("a file")


def no_lock(stored: StoredProject) -> None:
    (stored.store.path / "use").unlink(missing_ok=True)
    (stored.store.path / "use").mkdir()


# What list, export, verify and prune then end with, in this order. An image whose blobs are there
# is exported whatever an index says; a damaged entry is found by verify.
FOUND = (0, 0, 1, 0)
HARMLESS = (0, 0, 0, 0)
GONE = (0, 1, 0, 0)
SABOTAGES: dict[str, tuple[Sabotage, tuple[int, ...]]] = {
    "an empty entry": (entry(b""), FOUND),
    "a list for an entry": (entry(b"[]"), FOUND),
    "an entry of bytes": (entry(bytes(range(256))), FOUND),
    "an entry without end": (entry(b"[" * 100_000), FOUND),
    "an entry of one number": (entry(b"9" * 10_000), FOUND),
    "a size as text": (changed(size="95"), FOUND),
    "a size with a fraction": (changed(size=95.5), FOUND),
    "a huge size": (changed(size=10**30), FOUND),
    "a huge size, unpacked": (changed(unpacked=10**400), FOUND),
    "another compression": (changed(compression="gzip"), FOUND),
    "no compression": (changed(compression=5), FOUND),
    "a description that is a list": (changed(description=["a"]), HARMLESS),
    "a description with control characters": (changed(description="\x1b[31m\ud800"), HARMLESS),
    "swapped entries": (swapped, FOUND),
    "a pipe for a blob": (pipe_for_a_blob, (0, 1, 1, 0)),
    "a link to nowhere": (link_to_nowhere, (0, 1, 1, 0)),
    "a pipe for an entry": (pipe_for_an_entry, HARMLESS),
    "pipes for images": (pipes_for_images, GONE),
    "images of another shape": (another_shape_of_image, HARMLESS),
    "a system of numbers": (system(digest=5, size="x", diff_id=5, unpacked=1), HARMLESS),
    "a system with a zero": (system(digest="5", size=3, diff_id="\0", unpacked=1), HARMLESS),
    "a file for the store": (no_folder, (2, 2, 2, 2)),
    "a folder for a lock": (no_lock, (0, 1, 1, 1)),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_commands_on_a_damaged_store(
    stored: StoredProject, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, codes = SABOTAGES[name]
    spoil(stored)
    assert tuple(main(["store", *arguments]) for arguments in ACTIONS) == codes
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert not any(codes) or str(stored.store.path) in err or CELL in err or "damaged" in err
    if stored.store.path.is_dir() and codes[-1] == 0:
        assert stored.assemble() == stored.assembled
        assert main(["store", "verify"]) == 0


def test_swapped_entries_are_no_layers(stored: StoredProject) -> None:
    swapped(stored)
    assert (
        find_layer(stored.store, stored.keys[0]) is find_layer(stored.store, stored.keys[1]) is None
    )
    assert stored.assemble() == stored.assembled


def a_file(place: Path) -> None:
    place.write_text("x")


def a_full_folder(place: Path) -> None:
    place.mkdir()
    (place / "mine").write_text("x")


def a_layout_of_another_shape(place: Path) -> None:
    place.mkdir()
    (place / "index.json").write_text('{"manifests": [5]}')


def a_layout_without_names(place: Path) -> None:
    place.mkdir()
    (place / "index.json").write_text('{"manifests": [{"annotations": null}]}')


def a_file_in_the_layout(place: Path) -> None:
    assert main(["store", "export", CELL, str(place)]) == 0
    shutil.rmtree(place / "blobs")
    (place / "blobs").write_text("x")


PLACES: Mapping[str, tuple[Callable[[Path], object], int]] = {
    "a file": (a_file, 2),
    "a pipe": (os.mkfifo, 2),
    "a folder with something in it": (a_full_folder, 2),
    "a link to nowhere": (lambda place: place.symlink_to("nowhere"), 1),
    "a link to itself": (lambda place: place.symlink_to(place), 1),
    "a layout of another shape": (a_layout_of_another_shape, 2),
    "a layout without names": (a_layout_without_names, 2),
    "a file in the layout": (a_file_in_the_layout, 1),
}


@pytest.mark.parametrize("name", PLACES)
def test_an_export_to_where_it_cannot_be(
    stored: StoredProject, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, code = PLACES[name]
    place = Path("out")
    make(place)
    before = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    assert stored.image is not None
    assert main(["store", "export", CELL, "out"]) == code
    assert "dlimg: out: " in capsys.readouterr().err
    assert (sorted(path.name for path in place.iterdir()) if place.is_dir() else []) == before


def test_an_export_through_a_link(stored: StoredProject) -> None:
    Path("there").mkdir()
    Path("out").symlink_to("there")
    assert main(["store", "export", CELL, "out"]) == 0
    index = json.loads(Path("there/index.json").read_text())
    assert index["manifests"][0]["digest"] == stored.assembled.digest


READ_ONLY = 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"'
CODES = """
import sys
from dlimg.cli.main import main
actions = (["ls"], ["export", sys.argv[1], "out"], ["export", sys.argv[1], "cache/out"],
           ["verify"], ["prune"])
print(*[main(["store", *words]) for words in actions])
"""


def read_only(folder: Path) -> subprocess.CompletedProcess[str]:
    """All actions in turn, where this folder cannot be written to."""
    inside = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-euc",
        READ_ONLY,
        str(folder),
    ]
    if not shutil.which("unshare") or subprocess.run([*inside, "true"], check=False).returncode:
        pytest.skip("nobody may mount here")
    return subprocess.run(
        [*inside, sys.executable, "-c", CODES, CELL],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_store_that_one_may_only_read(stored: StoredProject, tmp_path: Path) -> None:
    assert main(["store", "verify"]) == 0
    ended = read_only(tmp_path / "cache")
    assert ended.stdout.splitlines()[-1] == "0 0 1 0 1", ended.stderr
    assert "cache/out: the layout cannot be written: read-only file system" in ended.stderr
    assert "layers read, all good" in ended.stderr
    stored.spoil(stored.keys[0])
    ended = read_only(tmp_path / "cache")
    assert ended.stdout.splitlines()[-1] == "0 0 1 1 1", ended.stderr
    text = f"layer {stored.keys[0]} is damaged, and cannot be removed: read-only file system"
    assert text in ended.stderr
