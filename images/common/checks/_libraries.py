"""Shared libraries of the image: NVIDIA's and packages', missing ones, duplicates, loading."""

import ctypes
import faulthandler
import os
import re
import signal
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import _elf
import _files
import _tag

PATIENCE = 60  # seconds for one library; cuBLAS takes one
AT_ONCE = min(8, len(os.sched_getaffinity(0)))
LOADED = 86  # how the process ends in which a library was loaded
LIBRARY = re.compile(r".+\.so(\.[0-9][\w.]*)?")
OTHER_PYTHON = re.compile(r"\.(cpython-(?P<version>\d+)|pypy\d+)")
ABSENT = re.compile(r"(\S+): cannot open shared object file: No such file or directory")
SYSTEM = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")  # where the loader looks at last


class Libraries(NamedTuple):
    """NVIDIA's libraries (of the wheels `nvidia-*`), and all others of the packages."""

    cuda: list[Path]
    modules: list[Path]


def find(folders: Iterable[str]) -> Libraries:
    """Return the libraries for this architecture and this Python, each file once.

    Libraries in `NAME.libs` are left out: the modules of the package NAME load them.
    """
    machine = _elf.read(Path(sys.executable).resolve()).machine
    libraries = Libraries([], [])
    tops = {Path(path).resolve() for path in folders if Path(path).name.endswith("-packages")}
    for top in sorted(tops):
        for folder, _, names in os.walk(top):
            parts = Path(folder).relative_to(top).parts[:1]
            kind = libraries.cuda if parts == ("nvidia",) else libraries.modules
            if not any(part.endswith(".libs") for part in parts):
                paths = [Path(folder, name) for name in sorted(names) if LIBRARY.fullmatch(name)]
                kind += [path for path in paths if is_ours(path, machine)]
    return libraries


def is_ours(path: Path, machine: int) -> bool:
    """Return whether this is a regular file for this architecture and Python, or a damaged one."""
    if path.is_symlink() or not path.is_file():
        return False
    version = OTHER_PYTHON.search(path.name)
    if version and version["version"] != "{}{}".format(*sys.version_info[:2]):
        return False
    return _elf.read(path).machine in (0, machine)


def lost() -> list[str]:
    """Return libraries in the RECORDs of NVIDIA's wheels that are missing."""
    packages = [
        path
        for path in _tag.installed()
        if _tag.normal(path.metadata["Name"] or "").startswith("nvidia-")
    ]
    rows = [
        (package, line.split(",")[0])
        for package in packages
        for line in (package.read_text("RECORD") or "").splitlines()
    ]
    return sorted(
        path
        for package, path in rows
        if LIBRARY.fullmatch(path) and not Path(str(package.locate_file(path))).exists()
    )


class Child(NamedTuple):
    """A process that loads a library, and where its complaint can be read."""

    number: int
    output: int


def opened(path: Path, load: Callable[[str], object] | None = None) -> str:
    """Load a library with all its symbols; return the loader's complaint, or an empty text.

    A separate process does it, because a library's constructors may crash or change it.
    """
    return _end(_start(path, load))


def opened_each(paths: Sequence[Path]) -> dict[Path, str]:
    """Load libraries, each in a process of its own, several at once; return the complaints."""
    complaints: dict[Path, str] = {}
    running: deque[tuple[Path, Child]] = deque()
    for path in paths:
        if len(running) == AT_ONCE:
            first, child = running.popleft()
            complaints[first] = _end(child)
        running.append((path, _start(path)))
    return complaints | {path: _end(child) for path, child in running}


def _start(path: Path, load: Callable[[str], object] | None = None) -> Child:
    read, write = os.pipe()
    with warnings.catch_warnings():
        # Of threads, which do not come along: the child takes nothing that one of them may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        _load(str(path), write, load or _bind)
    os.close(write)
    return Child(child, read)


def _end(child: Child) -> str:
    with os.fdopen(child.output, errors="replace") as output:
        complaint = (output.read().strip().splitlines() or [""])[-1]
    _, status = os.waitpid(child.number, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == LOADED:
        return ""
    if code == -signal.SIGALRM:
        return f"it takes more than {PATIENCE} s"
    return complaint if code == 1 and complaint else _death(code, complaint)


def load_in_turn(paths: Iterable[Path]) -> None:
    """Load libraries into this process, those that need others of them last; some may not load."""
    waiting = list(paths)
    while ready := [path for path in waiting if not opened(path)]:
        for path in ready:
            _bind(str(path))
        waiting = [path for path in waiting if path not in ready]


def _death(code: int, complaint: str) -> str:
    how = f"with {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
    return f"it ends the process {how}" + (f": {complaint}" if complaint else "")


def _bind(path: str) -> object:
    return ctypes.CDLL(path, mode=os.RTLD_NOW)


def _load(path: str, write: int, load: Callable[[str], object]) -> None:
    """Load a library and exit; runs in the child process."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(write, 2)
        faulthandler.disable()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        load(path)
        os._exit(LOADED)
    except OSError as error:
        os.write(write, f"\n{error}".encode())
    finally:
        os._exit(1)


def absent(path: Path, complaint: str, loaded: frozenset[str] = frozenset()) -> set[str]:
    """Return the missing libraries that this one needs; empty for another complaint.

    The loader's error names only the first; `ldd` lists all, also those that the process has
    `loaded` already and that the loader so takes by their names.
    """
    first = ABSENT.fullmatch(complaint)
    if not first:
        return set()
    done = subprocess.run(["/usr/bin/ldd", str(path)], capture_output=True, text=True, check=False)
    rows = [line.strip() for line in done.stdout.splitlines() if line.endswith("=> not found")]
    return {first[1], *({row.partition(" ")[0] for row in rows} - loaded)}


def search_path(libraries: Libraries) -> list[Path]:
    """Return the folders in which the loader looks for libraries that these need."""
    wheels = {path.parent for path in libraries.cuda}
    named = {
        folder for path in (*libraries.cuda, *libraries.modules) for folder in _elf.read(path).paths
    }
    given = [Path(path or ".") for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path]
    folders = {path.resolve() for path in (*wheels, *named, *given, *cached(), *map(Path, SYSTEM))}
    # Of a folder that is closed to this user, Path.is_dir raises an error.
    return sorted(folder for folder in folders if os.path.isdir(folder))  # noqa: PTH112


def cached() -> set[Path]:
    """Return the folders of the libraries in the loader's cache."""
    try:
        command = ["/sbin/ldconfig", "-p"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return set()
    rows = [line.rpartition(" => ")[2] for line in done.stdout.splitlines() if " => " in line]
    return {Path(row).parent for row in rows}


def twice(libraries: Libraries, folders: Iterable[Path]) -> list[str]:
    """Return names of NVIDIA's libraries with several files; links to one file are fine."""
    names = sorted({path.name for path in libraries.cuda if path.name.startswith("lib")})
    places = {name: {(path / name).resolve() for path in folders} for name in names}
    files = {
        name: sorted(map(str, filter(os.path.exists, paths))) for name, paths in places.items()
    }
    return [f"{name}: {' and '.join(paths)}" for name, paths in files.items() if len(paths) > 1]


def drivers(top: Path, mounts: Iterable[str]) -> list[str]:
    """Return files of the driver's library in this tree, without mounted ones.

    The driver is the host's: a container runtime mounts its files or folder, and links to them.
    """
    given = [Path(path) for path in mounts if path != "/"]
    paths = [
        Path(path.path) for path in _files.tree(top).entries if path.name.startswith("libcuda.so")
    ]
    real = {path: path.resolve() for path in paths}
    return sorted(
        str(path)
        for path, file in real.items()
        if not any(file.is_relative_to(path) for path in given)
    )


def mounts(table: Path = Path("/proc/self/mountinfo")) -> list[str]:
    """Return the mount points, by proc(5): the fifth column, with blanks as octal numbers."""
    points = [line.split(" ")[4] for line in table.read_text().splitlines()]
    return [re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point) for point in points]
