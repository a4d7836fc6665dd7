"""The store stays valid when processes are killed, run at once, or fill the disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dlimg
from dlimg.assembly.wheel_to_layer import LayerContext, wheel_to_layer
from dlimg.errors import BadInput
from dlimg.store.maintenance import verify_store
from dlimg.store.store import Store, list_layers
from tests.support import wheel_files
from tests.support.wheel_files import Record

START = """
import os, random, signal, sys, time
from pathlib import Path
from dlimg.errors import Negative
from dlimg.store.keys import LayerKey
from dlimg.layer.compress import splice_wheel_streams
from dlimg.store.store import Store, find_layer, list_layers, make_layer
from dlimg.layer.tar import TarHead
from dlimg.store.maintenance import prune_layers, verify_store

store = Store(path=Path(sys.argv[1]))
KEYS = [LayerKey(kind="wheel", source=f"{number:064x}") for number in range(12)]

def write_slowly(key):
    def write(file):
        def slowly(data):
            file.write(data)
            time.sleep(0.0003)
        return splice_wheel_streams([TarHead(str(key).encode() + bytes(2000))] * 8, slowly)
    return write

def make_all():
    for key in KEYS:
        make_layer(store, key, write_slowly(key), lambda text: None)

def forked(work):
    process = os.fork()
    if process:
        return process
    try:
        work()
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(1)

def ended(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
"""
KILLS = """
dice = random.Random(5)
killed = 0
while killed < 60:
    process = forked(make_all)
    time.sleep(dice.uniform(0, 0.03))
    os.kill(process, signal.SIGKILL)
    killed += ended(process) == -signal.SIGKILL
    assert verify_store(store) == (), killed
    if not any(find_layer(store, key) is None for key in KEYS):
        prune_layers(store, [])
make_all()
assert len(list_layers(store)) == len(KEYS)
prune_layers(store, KEYS)
print(len(list_layers(store)), len(list(store.making.iterdir())), len(list(store.blobs.iterdir())))
"""
CROWD = """
def upkeep():
    for turn in range(40):
        assert verify_store(store) == ()
        prune_layers(store, random.sample(KEYS, 6))

def make_often():
    for turn in range(3):
        make_all()

processes = [forked(make_often), forked(make_often), forked(upkeep)]
assert [ended(process) for process in processes] == [0, 0, 0]
make_all()
assert verify_store(store) == ()
print(len(list_layers(store)), len(list(store.making.iterdir())), len(list(store.blobs.iterdir())))
"""
FULL = """
import errno
from dlimg.assembly.wheel_to_layer import LayerContext, wheel_to_layer
from tests.support import wheel_files
folder = Path(sys.argv[2])
context = LayerContext(store=store, locate=lambda wheel: folder / wheel.file, log=print)
small = wheel_files.locked(folder / "small-1.0-py3-none-any.whl")
large = wheel_files.locked(folder / "large-1.0-py3-none-any.whl")
try:
    wheel_to_layer(context, large, python="3.13")
except Negative as error:
    print(error.problems[0].message.partition(": ")[2].partition(" /")[0])
    assert "store prune" in error.problems[0].hint
assert list(store.making.iterdir()) == []
assert wheel_to_layer(context, small, python="3.13") and len(list_layers(store)) == 1
assert verify_store(store) == ()
"""


def python(code: str, *arguments: object, before: tuple[str, ...] = ()) -> str:
    paths = [str(Path(dlimg.__file__).parents[1]), str(Path(__file__).parents[3])]
    ended = subprocess.run(
        [*before, sys.executable, "-c", START + code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_a_store_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    """Sixty processes are killed while each makes twelve layers."""
    assert python(KILLS, tmp_path / "layers") == "12 0 12"


def test_making_verifying_and_pruning_at_once(tmp_path: Path) -> None:
    assert python(CROWD, tmp_path / "layers") == "12 0 12"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """The store is on a small file system of its own, in a mount namespace."""
    inside = ("unshare", "--user", "--map-root-user", "--mount")
    probe = [*inside, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run(probe, check=False).returncode:
        pytest.skip("nobody may mount here")
    disk = tmp_path / "disk"
    disk.mkdir()
    wheel_files.wheel(tmp_path, "small", {"a.py": "1"})
    wheel_files.wheel(tmp_path, "large", {"a": os.urandom(3_000_000)})
    mount = f'mount -t tmpfs -o size=1m none "{disk}" && exec "$@"'
    output = python(FULL, disk / "layers", tmp_path, before=(*inside, "sh", "-c", mount, "sh"))
    assert output == "no space left on device"


SLIP = [b"../evil", b"/evil", b"a/../../evil", b"small-1.0.data/data/../../../../evil"]
BAD = [
    *[pytest.param(Record(name=name, content=b"x"), id=name.decode()) for name in SLIP],
    pytest.param(Record(name=b"evil", content=b"/etc", mode=0o120777), id="a link"),
    pytest.param(Record(name=b"\xff", content=b"x"), id="no UTF-8"),
    pytest.param(Record(name=b"evil", content=b"x", flags=1), id="encrypted"),
    pytest.param(Record(name=b"evil", content=b"x", method=99), id="unknown method"),
    pytest.param(Record(name=b"evil", content=b"x", crc=1), id="another CRC"),
    pytest.param(Record(name=b"small-1.0.dist-info/WHEEL", content=b"x"), id="a name twice"),
]


@pytest.mark.parametrize("record", BAD)
def test_an_invalid_wheel_writes_nothing(tmp_path: Path, record: Record) -> None:
    folder = tmp_path / "deep/er"
    folder.mkdir(parents=True)
    names = [b"small-1.0.dist-info/" + name for name in (b"METADATA", b"RECORD", b"WHEEL")]
    texts = [wheel_files.metadata("small").encode(), b"", wheel_files.WHEEL.encode()]
    needed = [Record(name=n, content=t) for n, t in zip(names, texts, strict=True)]
    path = folder / "small-1.0-py3-none-any.whl"
    path.write_bytes(wheel_files.zipped([*needed, record]))
    context = LayerContext(
        store=Store(path=folder / "layers"), locate=lambda wheel: folder / wheel.file, log=print
    )
    with pytest.raises(BadInput):
        wheel_to_layer(context, wheel_files.locked(path), python="3.13")
    assert list_layers(context.store) == ()
    assert verify_store(context.store) == ()
    files = [file for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_size]
    assert files == [path]
