"""Byte code, a layer of its own: compiled once for a set of wheels on a system, in a container.

The container runs the image's own Python over its packages without importing any of them. It
compiles the files that uv's install would: every `*.py` that is a file, each as it is found
under the environment's library path; what cannot be compiled is passed over.
"""

import contextlib
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import IO, Any, Final

import docker
from docker.models.containers import Container

from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.layers.compress import compress
from dlimg.layers.entry import PLAIN, Entry, folder
from dlimg.layers.index import Key, Layer, source_of
from dlimg.layers.scheme import ENVIRONMENT
from dlimg.layers.splice import Spliced
from dlimg.layers.store import Store, find, make
from dlimg.layers.tar import pieces
from dlimg.model import Wheel

# A container of ours that a killed dlimg left is known by it, to `dlimg prune`, too.
LABEL: Final = "io.dlimg.check"

_INTERPRETER: Final = "/usr/local/lib/dlimg/python"
_FOLDER: Final = "/dlimg-bytecode"
_ENVIRONMENT: Final = {"PYTHONHASHSEED": "0", "PYTHONPYCACHEPREFIX": _FOLDER}
# Whether equal constants become one depends on what the process has compiled before (Python 3.13,
# `intern_constants`). So each folder has a process of its own, forked from one that has compiled
# nothing: its files come out the same on any number of cores, and whatever else is compiled.
_SCRIPT: Final = """\
import os, py_compile, sys

mode = py_compile.PycInvalidationMode.UNCHECKED_HASH

def compiled(paths):
    for path in paths:
        try:
            py_compile.compile(path, doraise=True, invalidation_mode=mode)
        except (py_compile.PyCompileError, SyntaxError, UnicodeError):
            pass

def forked(work, *of):
    process = os.fork()
    if process == 0:
        try:
            work(*of)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    return process

def awaited(process):
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status:
        raise SystemExit(f"a process ended with {status}")

def each(groups):
    for paths in groups:
        awaited(forked(compiled, paths))

groups = []
for folder, folders, files in os.walk(sys.argv[1]):
    folders[:] = [name for name in folders if name != "__pycache__"]
    found = [os.path.join(folder, name) for name in sorted(files) if name.endswith(".py")]
    groups.append([path for path in found if not os.path.islink(path)])
groups.sort(key=len, reverse=True)
os.makedirs(sys.argv[2] + sys.argv[1])
count = len(os.sched_getaffinity(0))
for process in [forked(each, groups[number::count]) for number in range(count)]:
    awaited(process)
"""
_LAST_LINES: Final = 15

_Members = Mapping[str, tuple[int, int]]


def bytecode_key(system: Sequence[Layer], wheels: Sequence[Wheel], *, python: str) -> Key:
    """What the byte code is made from: our script, the system with its Python, and the wheels."""
    hashes = sorted(wheel.sha256 for wheel in wheels)
    source = source_of([_SCRIPT, *(layer.diff_id for layer in system), "wheels", *hashes])
    return Key(kind="bytecode", source=source, python=python)


def bytecode_layer(store: Store, key: Key, engine: Engine, image: str) -> Layer:
    """The layer for the image with this id; raises Negative when its Python does not run."""

    def write(file: IO[bytes]) -> Spliced:
        with tempfile.TemporaryFile() as spool:
            _compile(engine, image, key.python, spool)
            return compress(pieces(_entries(spool, key.python)), file.write)

    return find(store, key) or make(store, key, write, _hush)


def placed(path: str, python: str) -> str:
    """Where byte code belongs that was made as `.../pkg/module.cpython-313.pyc`.

    The library is called `python3.13` while compiling, as Python itself calls it, and that is
    what the byte code names; the image has it behind that link.
    """
    name = PurePosixPath(path)
    library = PurePosixPath(f"{ENVIRONMENT}/lib/python{python}")
    inner = name.parent.relative_to(library)
    return str(PurePosixPath(f"{ENVIRONMENT}/lib/python") / inner / "__pycache__" / name.name)


def _compile(engine: Engine, image: str, python: str, spool: IO[bytes]) -> None:
    """Writes a tar of all byte code, in the places where the compiler was told to put it."""
    library = f"/{ENVIRONMENT}/lib/python{python}/site-packages"
    # Without `site`, no file of a package is executed.
    command = [_INTERPRETER, "-S", "-s", "-P", "-c", _SCRIPT, library, _FOLDER]
    container = engine.sdk.containers.create(
        image,
        command[1:],
        entrypoint=command[:1],
        environment=_ENVIRONMENT,
        labels={LABEL: _label()},
        network_mode="none",
        user="0:0",
        working_dir="/",
    )
    with _removed(container):
        container.start()
        status = int(container.wait()["StatusCode"])
        if status != 0:
            said = container.logs(tail=_LAST_LINES).decode(errors="replace").strip()
            raise Negative(f"byte code could not be compiled, Python ended with {status}:\n{said}")
        stream, _ = container.get_archive(f"{_FOLDER}/{ENVIRONMENT}")
        for piece in stream:
            spool.write(piece)


def end_compiling(engine: Engine) -> None:
    """Ends the compilers that other threads of this process have started."""
    for container in engine.sdk.containers.list(all=True, filters={"label": f"{LABEL}={_label()}"}):
        with contextlib.suppress(docker.errors.APIError):
            container.remove(force=True, v=True)


def _label() -> str:
    return f"bytecode-{os.getpid()}"


@contextlib.contextmanager
def _removed(container: Container) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(docker.errors.APIError):  # `end_compiling` may have been first
            container.remove(force=True, v=True)


def _entries(spool: IO[bytes], python: str) -> Iterator[Entry]:
    """Files and folders by path; a file's content is read when its turn comes."""
    spool.seek(0)
    files = dict(_members(spool, python))
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."}
    for path in sorted({*files, *folders}):
        if path in folders:
            yield folder(path)
            continue
        offset, size = files[path]
        spool.seek(offset)
        yield Entry(path=path, mode=PLAIN, content=spool.read(size), owner="byte code")


def _members(spool: IO[bytes], python: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Where each file's bytes lie in the tar, by the path that it gets."""
    parent = str(PurePosixPath(ENVIRONMENT).parent)
    archive: Any = tarfile.open(fileobj=spool, mode="r:")  # noqa: SIM115 - the spool is the caller's
    for member in archive:
        if member.isfile():
            yield placed(f"{parent}/{member.name}", python), (member.offset_data, member.size)


def _hush(_: str) -> None:
    """Nobody needs to know that another dlimg is at it: this one waits within a build."""
