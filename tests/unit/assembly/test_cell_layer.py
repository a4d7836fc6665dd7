"""The layer of a cell: files, links and installer files, which need each wheel only once."""

import gzip
import io
import tarfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from dlimg.assembly.cell_layer import CellLayerFiles, cell_layer, cell_layer_files, installer_layer
from dlimg.assembly.wheel_to_layer import LayerContext, read_entries
from dlimg.checks.image_inputs import read_wheel_records
from dlimg.errors import BadInput, Negative
from dlimg.layer.compress import splice_wheel_streams
from dlimg.layer.entries import LayerEntry, arrange_entries, folder_entry, link_entry
from dlimg.layer.tar import tar_parts
from dlimg.model import Flavour, Wheel
from dlimg.store.keys import Layer
from dlimg.store.store import Store
from tests.support import samples, wheel_files

NOTES = "usr/local/lib/dlimg/packages/0123456789ab"
HOME = "opt/env/lib/python/site-packages/nvidia/cu13"


class CountingContext:
    """A context that counts the wheels that it locates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.context = LayerContext(
            store=Store(path=folder / "store"), locate=self.locate, log=lambda _: None
        )

    def locate(self, wheel: Wheel) -> Path:
        self.asked.append(wheel.name)
        return self.folder / wheel.file

    def wheel(self, name: str, files: dict[str, bytes | str]) -> Wheel:
        return wheel_files.locked(wheel_files.wheel(self.folder, name, files))

    def members(self, layer: Layer) -> dict[str, tarfile.TarInfo]:
        return members(self.context.store.blob(layer).read_bytes())


def members(blob: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as archive:
        return {member.name: member for member in archive}


def links(entries: dict[str, tarfile.TarInfo]) -> dict[str, str]:
    return {name: member.linkname for name, member in entries.items() if member.issym()}


@pytest.fixture
def counting(tmp_path: Path) -> CountingContext:
    return CountingContext(tmp_path)


def own(
    *wheels: Wheel, python: str = "3.13", home: str = "", at: dict[str, str] | None = None
) -> CellLayerFiles:
    return CellLayerFiles(
        wheels=wheels,
        python=python,
        requested=frozenset(wheel.name for wheel in wheels),
        files={"etc/dlimg/x.txt": b"x\n"},
        links=at or {},
        cuda_home=home,
    )


@pytest.mark.parametrize("target", ["a", "../b c", "ü", "long/" * 60 + "end"])
def test_links_come_out_of_the_tar_unchanged(target: str) -> None:
    out = io.BytesIO()
    entries = arrange_entries(
        [link_entry("a/b", target), LayerEntry(path="a/c", mode=0o644, content=b"1", owner="")]
    )
    splice_wheel_streams(tar_parts(entries), out.write)
    result = members(out.getvalue())
    assert list(result) == ["a", "a/b", "a/c"]
    member = result["a/b"]
    assert (member.issym(), member.linkname, member.mode, member.size) == (True, target, 0o777, 0)
    assert (member.uid, member.gid, member.mtime) == (0, 0, 315_619_200)


@pytest.mark.parametrize(
    "other",
    [
        link_entry("a", "other"),
        folder_entry("a"),
        LayerEntry(path="a", mode=0o644, content=b"", owner=""),
        LayerEntry(path="a/b", mode=0o644, content=b"", owner=""),
    ],
)
def test_a_link_and_a_file_at_one_path_clash(other: LayerEntry) -> None:
    with pytest.raises(BadInput):
        arrange_entries([link_entry("a", "x"), other])
    assert len(arrange_entries([link_entry("a", "x"), link_entry("a", "x")])) == 1


def test_a_layer_with_files_and_links(counting: CountingContext) -> None:
    points = {"a-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = a:b\n"}
    entries = counting.members(
        cell_layer(
            counting.context, own(counting.wheel("a", {**points}), at={"opt/env/bin/python": "p"})
        )
    )
    assert links(entries) == {"opt/env/bin/python": "p"}
    assert entries["opt/env/bin/tool"].mode == 0o755
    assert entries["etc/dlimg/x.txt"].mode == 0o644
    assert "opt/env/lib/python/site-packages/a-1.0.dist-info/RECORD" in entries


def test_links_are_in_the_key() -> None:
    keys = {
        own(at=at, home=home).key()
        for at in ({}, {"a": "b"}, {"a": "c"}, {"b": "b"})
        for home in ("", "x")
    }
    assert len(keys) == 8


def test_linkers_find_libraries(counting: CountingContext) -> None:
    library = "nvidia/cu13/lib"
    first = counting.wheel(
        "nvidia_a",
        {
            f"{library}/liba.so.13": "1",
            f"{library}/liba.so.13.2": "2",
            f"{library}/libb.so": "3",
            f"{library}/libb.so.13": "4",
            f"{library}/sub/libc.so.1": "5",
            f"{library}/other.so.1": "6",
            "nvidia/cu13/include/a.h": "7",
        },
    )
    second = counting.wheel(
        "nvidia_d", {f"{library}/libd.so.1.2.3": "8", "nvidia/lib/libe.so.1": "9"}
    )
    assert links(counting.members(cell_layer(counting.context, own(first, second, home=HOME)))) == {
        f"{HOME}/lib64": "lib",
        f"{HOME}/lib/liba.so": "liba.so.13",
        f"{HOME}/lib/libd.so": "libd.so.1.2.3",
    }
    assert links(counting.members(cell_layer(counting.context, own(first, second)))) == {}


def test_commands_are_on_every_search_path(counting: CountingContext) -> None:
    wheels = (
        counting.wheel(
            "a",
            {
                "a-1.0.dist-info/entry_points.txt": "[console_scripts]\na-run = a:b\npip3 = a:b\n",
                "a-1.0.data/scripts/a.sh": "#!/bin/sh\n",
                "a-1.0.data/scripts/dlimg-overlay": "#!/bin/sh\n",
                "a-1.0.data/data/bin/taken": "",
                "a-1.0.data/data/bin/folder/b": "",
                "a-1.0.data/data/share/bin/c": "",
                "a-1.0.data/data/bin/activate_this.py": "",
            },
        ),
    )
    made = replace(own(*wheels), packages=NOTES, reserved_commands=frozenset({"taken"}))
    entries = counting.members(cell_layer(counting.context, made))
    targets = links(entries)
    assert {
        path: target for path, target in targets.items() if path.startswith("usr/local/bin/")
    } == {
        f"usr/local/bin/{name}": "/usr/local/lib/dlimg/command"
        for name in ("a-run", "a.sh", "pip3", "pip3.13")
    }


def test_uv_finds_each_wheel_by_a_metadata_link(counting: CountingContext) -> None:
    wheels = (counting.wheel("Some_Thing", {}), counting.wheel("b", {}))
    entries = counting.members(cell_layer(counting.context, replace(own(*wheels), packages=NOTES)))
    library = "/opt/env/lib/python/site-packages"
    assert links(entries) == {
        f"{NOTES}/B/B.egg-info/PKG-INFO": f"{library}/b-1.0.dist-info/METADATA",
        f"{NOTES}/SOME_THING/SOME_THING.egg-info/PKG-INFO": (
            f"{library}/Some_Thing-1.0.dist-info/METADATA"
        ),
    }
    modes = {path: member.mode for path, member in entries.items() if path.startswith(NOTES)}
    assert modes[f"{NOTES}/B"] == 0o711
    assert modes[f"{NOTES}/B/B.egg-info"] == modes[NOTES] == 0o755


def test_another_cell_reuses_the_installer_files_without_the_wheel(
    counting: CountingContext,
) -> None:
    plain, pip = (
        counting.wheel("a", {}),
        counting.wheel(
            "pip", {"pip-1.0.dist-info/entry_points.txt": "[console_scripts]\npip3 = a:b\n"}
        ),
    )
    for python in ("3.13", "3.13", "3.12"):
        for wheel in (plain, pip):
            installer_layer(counting.context, wheel, python=python, requested=True)
    # pip has a command that names the Python.
    assert counting.asked == ["a", "pip", "pip"]
    for path in counting.folder.glob("*.whl"):
        path.unlink()
    first = cell_layer(counting.context, own(plain, pip))
    second = cell_layer(counting.context, own(plain, pip, python="3.12"))
    assert counting.asked == ["a", "pip", "pip"]
    assert "opt/env/bin/pip3.13" in counting.members(first)
    assert "opt/env/bin/pip3.12" in counting.members(second)


def test_damaged_installer_files_are_made_again(counting: CountingContext) -> None:
    wheel = counting.wheel("a", {})
    whole = cell_layer(counting.context, own(wheel))
    part = installer_layer(counting.context, wheel, python="3.13", requested=True)
    blob = counting.context.store.blob(part)
    blob.write_bytes(bytes(part.size))
    counting.context.store.blob(whole).unlink()
    with pytest.raises(Negative, match="the stored files of a-1") as caught:
        cell_layer(counting.context, own(wheel))
    assert "run the command again" in caught.value.problems[0].hint
    assert cell_layer(counting.context, own(wheel)) == whole
    assert any(blob.read_bytes())


def test_the_files_of_a_cell_layer() -> None:
    wheels = (samples.wheel("numpy", "2.5"), samples.wheel("torch", "2.15.0", sha256="ab" * 32))
    cell = samples.cell(accelerator="cuda13.2", flavour=Flavour.DEVEL)
    files = cell_layer_files(cell, samples.lock(wheels=wheels))
    assert files.requested == {"numpy", "torch"}
    assert files.files["etc/dlimg/constraints.txt"] == b"torch==2.15.0\n"
    text = files.files["etc/dlimg/requirements.txt"].decode().splitlines()
    assert text[1] == f"torch==2.15.0 --hash=sha256:{'ab' * 32}"
    assert files.links == {
        "opt/env/bin/python3.13": "/usr/bin/python3.13",
        "opt/env/bin/python3": "/usr/local/bin/python3",
        "opt/env/bin/python": "python3",
    }
    others = {"python", "python3", "python3.13"}
    assert others | {"dlimg-entrypoint", "dlimg-overlay"} <= files.reserved_commands
    assert all(name in others or name.startswith("dlimg-") for name in files.reserved_commands)
    assert files.packages.startswith("usr/local/lib/dlimg/packages/")
    assert files.cuda_home == HOME
    managed = samples.cell(python="3.12", managed_python="3.12.16")
    other = cell_layer_files(managed, samples.lock(wheels=wheels))
    assert other.links["opt/env/bin/python3.12"] == "/opt/python/current/bin/python3.12"
    assert other.cuda_home == ""
    changed = samples.lock(wheels=(samples.wheel("numpy", "2.6"), wheels[1]))
    assert cell_layer_files(cell, changed).packages != files.packages


def test_records_of_wheels_are_read_from_the_store(counting: CountingContext) -> None:
    wheel, other = counting.wheel("thing", {"thing.py": "x = 1\n"}), samples.wheel("other", "1.0")
    lock = samples.lock(wheels=(wheel, other))
    assert read_wheel_records(lock, counting.context.store) == {}
    part = installer_layer(counting.context, wheel, python=lock.python, requested=True)
    content = next(
        entry.content
        for entry in read_entries(counting.context.store, part, owner="")
        if entry.path.endswith("/RECORD")
    )
    assert isinstance(content, bytes)
    digests = {wheel.name: sha256(content).hexdigest()}
    assert read_wheel_records(lock, counting.context.store) == digests
    counting.context.store.blob(part).write_bytes(b"x" * part.size)
    assert read_wheel_records(lock, counting.context.store) == {}
