"""Compiling Python files to byte code in a container of the system, without executing them.

The container has no packages and no network. Its input is a tar with a numbered folder for each set
of files, and its output is byte code under the same numbers. The byte code of a set depends on the
set and on the Python alone.
"""

import contextlib
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import IO, Any, Final

import docker
from docker.models.containers import Container

from dlimg.engine.client import Engine
from dlimg.engine.ownership import OWNER_LABEL, owner_label
from dlimg.errors import Negative
from dlimg.layer.entries import LayerEntry, folder_entry
from dlimg.layer.tar import tar_bytes, tar_parts
from dlimg.layer.wheel_entries import ENVIRONMENT, LIBRARY

# The label of the containers, so that `dlimg prune` finds those that a killed dlimg left.
LABEL: Final = "io.dlimg.check"

_INTERPRETER: Final = "/usr/local/lib/dlimg/python"
# Without `site`, no file of a package could be executed even if there were one.
_OPTIONS: Final = ("-S", "-s", "-P", "-W", "ignore", "-c")
COMPILE_FOLDER: Final = "dlimg-bytecode"
COMPILE_ENV: Final = {"PYTHONHASHSEED": "0"}
# What a process has compiled before shows in what it compiles next (which equal constants are
# one object). So a few files of one set, always the same, have a process of their own, forked from
# one that has compiled nothing: they come out the same on any number of cores, in any company.
SCRIPT: Final = """\
import os, py_compile, sys

start, library = sys.argv[1:]
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
TOGETHER = 25

def compiled(path):
    number, _, inner = path.partition("/")
    folder, name = os.path.split(inner)
    file = f"{name[:-3]}.{sys.implementation.cache_tag}.pyc"
    target = os.path.join(start, "out", number, folder, "__pycache__", file)
    source = os.path.join(start, "in", path)
    try:
        py_compile.compile(
            source, target, os.path.join(library, inner), doraise=True, invalidation_mode=mode
        )
    except py_compile.PyCompileError as error:
        if error.exc_type_name == "MemoryError":
            raise
    except (SyntaxError, UnicodeError):
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

def all_of(paths):
    for path in paths:
        compiled(path)

def each(groups):
    for paths in groups:
        awaited(forked(all_of, paths))

def groups(top):
    for number in os.listdir(top):
        found = sorted(
            os.path.relpath(os.path.join(folder, name), top)
            for folder, _, files in os.walk(os.path.join(top, number))
            for name in files
        )
        for first in range(0, len(found), TOGETHER):
            paths = found[first : first + TOGETHER]
            yield sum(os.stat(os.path.join(top, path)).st_size for path in paths), paths

os.makedirs(os.path.join(start, "out"), exist_ok=True)
ordered = [paths for _, paths in sorted(groups(os.path.join(start, "in")), reverse=True)]
count = len(os.sched_getaffinity(0))
for process in [forked(each, ordered[number::count]) for number in range(count)]:
    awaited(process)
"""
_LAST_LINES: Final = 15

ByteRange = tuple[int, int]
# Sets of files to compile, the file that takes byte code, and the ranges of byte code in it by
# the number of the set and the path in the image.
Sources = Iterable[Iterable[LayerEntry]]
Spool = IO[bytes]
BytecodeRanges = Mapping[int, Mapping[str, ByteRange]]
CompileIn = Callable[[Sources, Spool], BytecodeRanges]


def compile_in(
    engine: Engine,
    image: str,
    python: str,
    sources: Sources,
    spool: Spool,
) -> BytecodeRanges:
    """Compile the sets of files into `spool`; return the range of each file's byte code in it.

    Files that do not compile are left out. Raises Negative when the Python does not run, or a file
    cannot be read.
    """
    program, *arguments = compile_command(python)
    try:
        container = engine.sdk.containers.create(
            image,
            arguments,
            entrypoint=[program],
            environment=COMPILE_ENV,
            labels={LABEL: _label(), OWNER_LABEL: owner_label()},
            network_mode="none",
            user="0:0",
            working_dir="/",
        )
        with _removing(container):
            _run(container, sources, spool)
    except docker.errors.APIError as error:
        raise Negative(f"byte code could not be compiled: {error.explanation}") from error
    return locate_bytecode(spool)


def stop_compilers(engine: Engine) -> None:
    """Remove the containers in which other threads of this process compile."""
    api = engine.sdk.api
    # Another dlimg may have the same number in a process namespace of its own.
    labels = [f"{LABEL}={_label()}", f"{OWNER_LABEL}={owner_label()}"]
    for container in api.containers(all=True, filters={"label": labels}):
        with contextlib.suppress(docker.errors.APIError):
            api.remove_container(container["Id"], force=True, v=True)


def compile_command(python: str) -> tuple[str, ...]:
    """Return the command that compiles the files in `COMPILE_FOLDER`, to run with `COMPILE_ENV`."""
    return (_INTERPRETER, *_OPTIONS, SCRIPT, f"/{COMPILE_FOLDER}", f"/{_library(python)}")


def _run(container: Container, sources: Sources, spool: Spool) -> None:
    container.put_archive("/", tar_bytes(tar_parts(compiler_input(sources))))
    container.start()
    status = int(container.wait()["StatusCode"])
    if status != 0:
        lines = container.logs(tail=_LAST_LINES).decode(errors="replace").strip()
        raise Negative(f"byte code could not be compiled, Python ended with {status}:\n{lines}")
    stream, _ = container.get_archive(f"/{COMPILE_FOLDER}/out")
    for chunk in stream:
        spool.write(chunk)


def compiler_input(sources: Sources) -> Iterator[LayerEntry]:
    """Yield all files under the paths where the script expects them."""
    yield folder_entry(COMPILE_FOLDER)
    yield folder_entry(f"{COMPILE_FOLDER}/in")
    for number, entries in enumerate(sources):
        top = f"{COMPILE_FOLDER}/in/{number}"
        yield folder_entry(top)
        for entry in entries:
            path = entry.path.removeprefix(f"{LIBRARY}/")
            if path != entry.path:
                yield replace(entry, path=f"{top}/{path}")


def locate_bytecode(spool: Spool) -> BytecodeRanges:
    """Return the range of each file's byte code in the tar of results."""
    spool.seek(0)
    ranges: dict[int, dict[str, ByteRange]] = {}
    archive: Any = tarfile.open(fileobj=spool, mode="r:")  # noqa: SIM115 - the spool is the caller's
    for member in archive:
        if member.isfile():
            _, number, path = member.name.split("/", 2)
            in_set = ranges.setdefault(int(number), {})
            in_set[f"{LIBRARY}/{path}"] = (member.offset_data, member.size)
    return ranges


def _library(python: str) -> str:
    """Return the path of site-packages that byte code records: a link that names this Python."""
    return f"{ENVIRONMENT}/lib/python{python}/site-packages"


def _label() -> str:
    return f"bytecode-{os.getpid()}"


@contextlib.contextmanager
def _removing(container: Container) -> Iterator[None]:
    try:
        yield
    finally:
        # `end_compiling` may have been first, and be still at it: the image is in use until then.
        with contextlib.suppress(docker.errors.APIError):
            container.remove(force=True, v=True)
        with contextlib.suppress(docker.errors.APIError):
            container.wait(condition="removed")
