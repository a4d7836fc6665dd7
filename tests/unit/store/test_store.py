"""The store keeps each layer once and complete, also with several processes."""

import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest
from zstandard import ZstdDecompressor

import dlimg
from dlimg.assembly.cell_layer import CellLayerFiles, cell_layer
from dlimg.assembly.wheel_to_layer import (
    LayerContext,
    is_large,
    small_wheels_to_layer,
    wheel_to_layer,
)
from dlimg.errors import BadInput, Negative
from dlimg.host.file_lock import file_lock
from dlimg.layer.compress import FORMAT, WrittenLayer, splice_wheel_streams
from dlimg.layer.tar import TarHead
from dlimg.model import Wheel
from dlimg.store.keys import Layer, LayerKey, entry_description, hash_texts, parse_entry
from dlimg.store.maintenance import (
    PruneResult,
    StoreEntry,
    hold_store,
    list_entries,
    prune_layers,
    reading_layers,
    verify_store,
)
from dlimg.store.store import Store, find_layer, list_layers, make_layer
from tests.support import wheel_files

ONE = LayerKey(kind="wheel", source="1" * 64)
TWO = LayerKey(kind="wheel", source="2" * 64, python="3.13")


def writer(text: bytes = b"content") -> Callable[[IO[bytes]], WrittenLayer]:
    return lambda file: splice_wheel_streams([TarHead(text)], file.write)


def made(store: Store, key: LayerKey = ONE, text: bytes = b"content") -> Layer:
    return make_layer(store, key, writer(text), print)


def left_over(store: Store) -> list[Path]:
    return list((store.path / "making").glob("*"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(path=tmp_path / "layers")


def test_a_layer_is_made_once(store: Store) -> None:
    assert find_layer(store, ONE) is None
    layer = made(store)
    assert store.blob(layer).stat().st_size == layer.size
    assert store.blob(layer).stat().st_mode & 0o777 == 0o644
    assert find_layer(store, ONE) == layer

    def refuse(_: IO[bytes]) -> WrittenLayer:
        raise AssertionError

    assert make_layer(store, ONE, refuse, print) == layer
    assert list_layers(store) == ((ONE, layer),)
    assert left_over(store) == []
    assert layer.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"


def test_an_entry_describes_its_layer(store: Store) -> None:
    layer = made(store, TWO)
    values = json.loads(store.entry(TWO).read_text())
    assert values["format"] == FORMAT
    assert values["source"] == TWO.source
    assert values["diff_id"] == layer.diff_id
    make_layer(store, ONE, writer(), print, description="torch 2.15.0")
    assert entry_description(store.entry(ONE).read_text()) == "torch 2.15.0"
    assert [entry_description(text) for text in ("", "[]", "{}", '{"words": 5}')] == [""] * 4


@pytest.mark.parametrize(
    "key", [ONE, TWO, LayerKey(kind="own", source="a" * 64, compression="zstd")]
)
def test_keys_are_file_names(key: LayerKey) -> None:
    assert LayerKey.parse(str(key)) == key


@pytest.mark.parametrize("text", ["", "wheel", "wheel-1-gzip", f"../x-{'1' * 64}-gzip"])
def test_invalid_keys_are_refused(text: str) -> None:
    assert LayerKey.parse(text) is None


def test_hashes_of_texts_depend_on_their_boundaries() -> None:
    assert len({hash_texts(parts) for parts in (["ab"], ["a", "b"], ["b", "a"], [])}) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"format": FORMAT + 1},
        {"digest": "sha256:../../x"},
        {"digest": 5},
        {"diff_id": "x"},
        {"size": "x"},
        {"size": -1},
        {"size": 1.5},
        {"unpacked": None},
        {"unpacked": 10**400},
        {"compression": "zstd3"},
        {"source": TWO.source},
    ],
)
def test_entries_of_another_key_are_ignored(store: Store, change: dict[str, object]) -> None:
    made(store)
    text = store.entry(ONE).read_text()
    assert parse_entry(text, ONE)
    assert parse_entry(text, TWO) is None
    assert parse_entry(json.dumps({**json.loads(text), **change}), ONE) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "5", "[" * 100_000, "\udcff"])
def test_invalid_entries_are_ignored(store: Store, text: str) -> None:
    layer = made(store)
    store.entry(ONE).write_text(text, errors="surrogateescape")
    assert find_layer(store, ONE) is None
    assert made(store) == layer


def test_a_truncated_layer_is_made_again(store: Store) -> None:
    layer = made(store)
    store.blob(layer).write_bytes(store.blob(layer).read_bytes()[:-1])
    assert find_layer(store, ONE) is None
    assert list_layers(store) == ()
    assert made(store) == layer
    assert find_layer(store, ONE) == layer


def test_a_changed_layer_is_found_by_verify(store: Store) -> None:
    layer = made(store)
    other = made(store, TWO, b"other")
    raw = bytearray(store.blob(layer).read_bytes())
    raw[-1] ^= 1
    store.blob(layer).write_bytes(raw)
    assert find_layer(store, ONE) == layer
    assert [damaged.key for damaged in verify_store(store)] == [ONE]
    assert find_layer(store, ONE) is None
    assert list_layers(store) == ((TWO, other),)
    assert verify_store(store) == ()
    assert made(store) == layer


def test_damaged_layers_of_an_image_are_made_again(store: Store) -> None:
    layers = [made(store), made(store, TWO, b"other")]
    with pytest.raises(zlib.error), reading_layers(store, layers):
        raise zlib.error  # of something else than these
    blob = store.blob(layers[0])
    blob.write_bytes(bytes(layers[0].size))
    message = "damaged in the store: wheel"
    with pytest.raises(Negative, match=message) as caught, reading_layers(store, layers):
        raise zlib.error
    assert "run the command again" in caught.value.problems[0].hint
    assert list_layers(store) == ((TWO, layers[1]),)
    assert verify_store(store) == ()  # nothing is told of twice
    assert made(store) == layers[0]
    store.blob(layers[0]).write_bytes(b"another size")
    with pytest.raises(Negative, match=message), reading_layers(store, layers):
        raise FileNotFoundError
    assert verify_store(store) == ()
    assert made(store) == layers[0]
    with reading_layers(store, layers):
        assert len(list_layers(store)) == 2


def test_verify_removes_entries_without_a_blob(store: Store) -> None:
    store.blob(made(store)).unlink()
    assert [damaged.key for damaged in verify_store(store)] == [ONE]
    assert not store.entry(ONE).exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_write_error_leaves_nothing_behind(store: Store, number: int) -> None:
    def fill(file: IO[bytes]) -> WrittenLayer:
        file.write(b"begun")
        raise OSError(number, os.strerror(number))

    with pytest.raises(Negative) as caught:
        make_layer(store, ONE, fill, print)
    (problem,) = caught.value.problems
    assert os.strerror(number).lower() in problem.message
    assert "prune" in problem.hint
    assert left_over(store) == []
    assert find_layer(store, ONE) is None


def test_a_full_device_is_reported(store: Store) -> None:
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.store.test_store import ONE, made, left_over\n"
        "from dlimg.store.store import Store\n"
        "from dlimg.errors import Negative\n"
        "store = Store(path=Path(sys.argv[1]))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    made(store, ONE, __import__('os').urandom(300_000))\n"
        "except Negative as error:\n"
        "    assert left_over(store) == []\n"
        "    print(error.problems[0].message)\n"
    )
    assert "file too large" in python(code, store).stdout


def test_an_exception_leaves_no_files(store: Store) -> None:
    def stop(file: IO[bytes]) -> WrittenLayer:
        file.write(b"begun")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_layer(store, ONE, stop, print)
    assert left_over(store) == []
    assert find_layer(store, ONE) is None


def python(code: str, store: Store) -> subprocess.CompletedProcess[str]:
    paths = [str(Path(dlimg.__file__).parents[1]), str(Path(__file__).parents[3])]
    return subprocess.run(
        [sys.executable, "-c", code, str(store.path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("moment", ["write", "rename", "entry"])
def test_a_killed_process_leaves_no_visible_layer(store: Store, moment: str) -> None:
    """The process dies while it writes the layer, before it renames it, or before its entry."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.store.test_store import ONE, writer\n"
        "from dlimg.store.store import Store, make_layer\n"
        "def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)\n"
        "count = 0\n"
        "def replace(path, target, replace=Path.replace):\n"
        "    global count\n"
        "    count += 1\n"
        "    die() if count == {'rename': 1, 'entry': 2}[moment] else replace(path, target)\n"
        f"moment = {moment!r}\n"
        "if moment != 'write': Path.replace = replace\n"
        "write = die if moment == 'write' else writer()\n"
        "make_layer(Store(path=Path(sys.argv[1])), ONE, write, print)\n"
    )
    assert python(code, store).returncode == -signal.SIGKILL
    assert find_layer(store, ONE) is None
    assert list_layers(store) == ()
    assert left_over(store) != []
    layer = made(store)
    assert find_layer(store, ONE) == layer
    prune_layers(store, [ONE])
    assert left_over(store) == []
    assert find_layer(store, ONE) == layer


def test_two_threads_make_one_layer(store: Store) -> None:
    count = 0
    messages: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def slow(file: IO[bytes]) -> WrittenLayer:
        nonlocal count
        count += 1
        begun.set()
        assert go.wait(10)
        return writer()(file)

    def say(text: str) -> None:
        messages.append(text)
        go.set()

    layers: list[Layer] = []

    def work() -> None:
        layers.append(make_layer(store, ONE, slow, say))

    first, second = threading.Thread(target=work), threading.Thread(target=work)
    first.start()
    assert begun.wait(10)
    second.start()
    first.join(10)
    second.join(10)
    assert count == 1
    assert len(layers) == 2
    assert layers[0] == layers[1]
    assert "waiting for another dlimg" in messages[0]


def test_two_processes_share_a_store(store: Store) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.unit.store.test_store import LayerKey, made, Store\n"
        "store = Store(path=Path(sys.argv[1]))\n"
        "for number in range(30):\n"
        "    made(store, LayerKey(kind='wheel', source=f'{number:064x}'), b'%d' % (number % 7))\n"
    )
    workers = [threading.Thread(target=python, args=(code, store)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(list_layers(store)) == 30
    assert len(list(store.blobs.iterdir())) == 7
    assert verify_store(store) == ()
    assert left_over(store) == []


def test_prune_keeps_what_is_used(store: Store) -> None:
    layer = made(store)
    other = made(store, TWO, b"other")
    (store.blobs / ("f" * 64)).write_bytes(b"orphan")
    (store.making / "old").write_bytes(b"forgotten")
    old = store.path / "index/0"
    old.mkdir()
    (old / f"{ONE}.json").write_text("{}")
    (store.index / "x.json").write_text("{}")
    freed = prune_layers(store, [ONE])
    assert freed.layers == 1
    assert freed.size >= other.size + len(b"orphan") + len(b"forgotten")
    assert list_layers(store) == ((ONE, layer),)
    assert [path.name for path in store.blobs.iterdir()] == [store.blob(layer).name]
    assert left_over(store) == []
    assert list(old.iterdir()) == []
    assert prune_layers(store, []).size >= layer.size
    assert prune_layers(store, []) == PruneResult(layers=0, size=0)


def test_prune_refuses_while_the_store_is_held(store: Store) -> None:
    layer = made(store)
    with (
        hold_store(store),
        hold_store(store),
        pytest.raises(Negative, match="another dlimg is using"),
    ):
        prune_layers(store, [])
    assert find_layer(store, ONE) == layer
    prune_layers(store, [])
    assert find_layer(store, ONE) is None


def test_contents_of_a_layer_are_described(store: Store) -> None:
    first = make_layer(store, ONE, writer(), print, description="torch 2.15.0")
    second = made(store, TWO, b"other")
    assert list_entries(store) == (
        StoreEntry(key=ONE, layer=first, description="torch 2.15.0"),
        StoreEntry(key=TWO, layer=second, description=""),
    )
    store.blob(first).write_bytes(b"")
    (damaged,) = verify_store(store)
    assert (damaged.key, damaged.description) == (ONE, "torch 2.15.0")


def test_a_removed_lock_file_is_locked_anew(store: Store) -> None:
    """A process that opened the file before its removal must not share the lock with another."""
    file = store.path / "turns/x"
    messages: list[str] = []
    exists: list[bool] = []

    def wait() -> None:
        with file_lock(file, doing="it", log=messages.append):
            exists.append(file.exists())

    with file_lock(file, doing="it", log=print):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while not messages:
            time.sleep(0.01)
        file.unlink()
    waiting.join(10)
    assert exists == [True]


def test_prune_keeps_files_being_written(store: Store) -> None:
    def write(file: IO[bytes]) -> WrittenLayer:
        file.write(b"x")
        file.flush()
        assert prune_layers(store, []).size == 0
        file.seek(0)
        file.truncate()
        return writer()(file)

    assert find_layer(store, ONE) is None
    layer = make_layer(store, ONE, write, print)
    assert find_layer(store, ONE) == layer


def test_a_store_of_another_format_is_not_read(store: Store) -> None:
    layer = made(store)
    store.index.rename(store.index.with_name("0"))
    assert find_layer(store, ONE) is None
    assert list_layers(store) == ()
    assert made(store) == layer


def test_a_read_only_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "layers").write_text("a file")
    with pytest.raises(Negative, match="cannot be made"):
        made(Store(path=tmp_path / "layers"))


# The three kinds of layers.


class CountingContext:
    """Wheels on disk, and a count of the calls that locate them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.context = LayerContext(
            store=Store(path=folder / "layers"), locate=self.locate, log=print
        )

    def locate(self, wheel: Wheel) -> Path:
        self.asked.append(wheel.name)
        return self.folder / wheel.file

    def wheel(self, name: str, files: dict[str, bytes | str]) -> Wheel:
        return wheel_files.locked(wheel_files.wheel(self.folder, name, files))

    def files(self, layer: Layer) -> dict[str, bytes]:
        return wheel_files.files(self.context.store.blob(layer).read_bytes())


@pytest.fixture
def counting(tmp_path: Path) -> CountingContext:
    return CountingContext(tmp_path)


def test_a_wheel_is_located_once_for_all_pythons(counting: CountingContext) -> None:
    wheel = counting.wheel("small", {"a.py": "1"})
    first = wheel_to_layer(counting.context, wheel, python="3.12")
    assert wheel_to_layer(counting.context, wheel, python="3.13") == first
    assert counting.asked == ["small"]
    assert set(counting.files(first)) == {
        "a.py",
        "small-1.0.dist-info/METADATA",
        "small-1.0.dist-info/WHEEL",
    }


def test_headers_make_a_layer_for_each_python(counting: CountingContext) -> None:
    wheel = counting.wheel("small", {"small-1.0.data/headers/a.h": "1"})
    first = wheel_to_layer(counting.context, wheel, python="3.12")
    second = wheel_to_layer(counting.context, wheel, python="3.13")
    assert "include/site/python3.12/small/a.h" in counting.files(first)
    assert "include/site/python3.13/small/a.h" in counting.files(second)
    assert wheel_to_layer(counting.context, wheel, python="3.12") == first
    assert counting.asked == ["small", "small"]


def test_the_order_of_small_wheels_does_not_matter(counting: CountingContext) -> None:
    wheels = [
        counting.wheel(name, {f"{name}.py": "1", "ns/__init__.py": ""}) for name in ("a", "b")
    ]
    first = small_wheels_to_layer(counting.context, wheels, python="3.13")
    assert small_wheels_to_layer(counting.context, wheels[::-1], python="3.13") == first
    assert {"a.py", "b.py", "ns/__init__.py"} < set(counting.files(first))
    assert not any(is_large(wheel) for wheel in wheels)


def test_wheels_with_conflicting_files_are_refused(counting: CountingContext) -> None:
    wheels = [counting.wheel(name, {"same.py": name}) for name in ("a", "b")]
    with pytest.raises(BadInput, match=r"different contents for .*same\.py"):
        small_wheels_to_layer(counting.context, wheels, python="3.13")
    assert list_layers(counting.context.store) == ()
    assert left_over(counting.context.store) == []


def test_the_files_of_a_cell_are_a_layer(counting: CountingContext) -> None:
    points = {"a-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = a:b\n"}
    wheels = (counting.wheel("a", {**points}), counting.wheel("b", {}))
    own = CellLayerFiles(
        wheels=wheels,
        python="3.13",
        requested=frozenset({"a", "absent"}),
        files={"etc/dlimg/constraints.txt": b"a==1.0\n"},
    )
    layer = cell_layer(counting.context, own)
    assert set(counting.files(layer)) == {
        "a-1.0.dist-info/INSTALLER",
        "a-1.0.dist-info/RECORD",
        "a-1.0.dist-info/REQUESTED",
        "b-1.0.dist-info/INSTALLER",
        "b-1.0.dist-info/RECORD",
        "bin/tool",
        "etc/dlimg/constraints.txt",
    }
    asked = len(counting.asked)
    assert cell_layer(counting.context, own) == layer
    assert len(counting.asked) == asked


@pytest.mark.parametrize(
    "other",
    [
        {"python": "3.12"},
        {"requested": frozenset({"a"})},
        {"files": {"x": b"2"}},
        {"files": {"y": b"1"}},
        {"wheels": ()},
    ],
)
def test_the_key_of_a_cell_layer_contains_all_inputs(
    counting: CountingContext, other: dict[str, object]
) -> None:
    given: dict[str, object] = {
        "wheels": (counting.wheel("a", {}),),
        "python": "3.13",
        "requested": frozenset(),
        "files": {"x": b"1"},
    }
    assert CellLayerFiles(**given).key() != CellLayerFiles(**{**given, **other}).key()  # type: ignore[arg-type]


def test_layers_of_another_compression_have_other_keys(counting: CountingContext) -> None:
    wheel = counting.wheel("small", {"a.py": "1"})
    other = replace(counting.context, compression="zstd3")
    layer = wheel_to_layer(other, wheel, python="3.13")
    first = wheel_to_layer(counting.context, wheel, python="3.13")
    raw = other.store.blob(layer).read_bytes()
    tar = ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
    assert f"sha256:{hashlib.sha256(tar).hexdigest()}" == layer.diff_id == first.diff_id
    assert layer.digest != first.digest
    assert layer.media_type == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert wheel_to_layer(other, wheel, python="3.13") == layer


def test_a_wheel_that_differs_from_the_lock_is_refused(counting: CountingContext) -> None:
    wheel = counting.wheel("small", {"a.py": "1"})
    path = counting.folder / wheel.file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadInput, match="its sha256 is"):
        wheel_to_layer(counting.context, wheel, python="3.13")
    assert list_layers(counting.context.store) == ()


def test_a_damaged_member_leaves_no_layer(counting: CountingContext) -> None:
    path = counting.folder / "small-1.0-py3-none-any.whl"
    raw = wheel_files.wheel(counting.folder, files={"a.py": "1"}, stored=("a.py",)).read_bytes()
    at = raw.index(b"a.py") + 4
    path.write_bytes(raw[:at] + b"2" + raw[at + 1 :])
    with pytest.raises(BadInput, match=r"a\.py has a wrong CRC"):
        wheel_to_layer(counting.context, wheel_files.locked(path), python="3.13")
    assert list_layers(counting.context.store) == ()
    assert left_over(counting.context.store) == []


def test_sizes_and_digests_of_a_spliced_layer_are_correct() -> None:
    out = io.BytesIO()
    spliced = splice_wheel_streams([TarHead(b"x"), b"y" * 5], out.write)
    assert spliced.size == len(out.getvalue())
    assert spliced.unpacked == 6
