"""The files, folders and links that the layout and the lock add to an image, with contents.

Computed from templates, cell and lock on the machine that runs the checks, never from the image.
`images/common/checks/every_file_has_a_source.py` reads it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Final, Literal

import jinja2

from dlimg.model import Cell, Lock
from dlimg.render.dockerfile import interpreter_path, template_context
from dlimg.render.image_config import cuda_home
from dlimg.render.layout import (
    COMMAND,
    COMMANDS,
    DPKG_SETTINGS,
    HOME_FOLDERS,
    PLAIN_MODE,
    PROGRAM_MODE,
    cell_files,
    layout_files,
    layout_links,
    packages_folder,
)

ENVIRONMENT: Final = "opt/env"
# Folders of the distribution's packages: the layout makes none of them.
SHARED: Final = ("etc", "usr", "usr/local", "usr/local/bin", "usr/local/lib", "opt", "home")
SHARED_FOLDERS: Final = (*SHARED, "etc/dpkg", "etc/dpkg/dpkg.cfg.d", "etc/profile.d")
WRITABLE_MODE: Final = "775"
# Where the user may write: images/_layout/Dockerfile.j2 makes these for him.
WRITABLE: Final = ("code", "data", "output")

Owner = Literal["root", "user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A path below the root, without its first slash.

    A file has the `sha256` of its content, or a `pattern` if the content holds the patch level
    of the distribution's Python; a link has a `target`.
    """

    path: str
    kind: Literal["file", "folder", "link"]
    mode: str = ""
    owner: Owner = "root"
    sha256: str = ""
    pattern: str = ""
    target: str = ""


def layout_tree(cell: Cell, lock: Lock, templates: jinja2.Environment) -> tuple[Node, ...]:
    """Return the paths of the layout, folders included."""
    nodes = [*_files(cell, lock, templates), *_links(cell), *_environment(cell)]
    folders = {node.path for node in nodes if node.kind == "folder"}
    paths = [PurePosixPath(node.path) for node in nodes]
    parents = {str(parent) for path in paths for parent in path.parents} - {"."}
    nodes += [_folder(path) for path in sorted(parents - folders - set(SHARED_FOLDERS))]
    return tuple(sorted(nodes, key=lambda node: node.path))


def tree_text(cell: Cell, lock: Lock, nodes: Sequence[Node]) -> str:
    """Return the paths as JSON for a check, with the numbers and the home of the image's user."""
    rows = [{key: value for key, value in asdict(node).items() if value} for node in nodes]
    tree = {
        "nodes": rows,
        "cuda_home": cuda_home(cell).removeprefix("/"),
        "commands": [COMMANDS, COMMAND],
        "managed_python": cell.managed_python,
        "notes": packages_folder(lock),
        "user": (cell.user.number, cell.user.group),
        "home": cell.user.home.removeprefix("/"),
    }
    return json.dumps(tree, sort_keys=True)


def _files(cell: Cell, lock: Lock, templates: jinja2.Environment) -> Iterator[Node]:
    values = template_context(cell, lock)
    for file in (DPKG_SETTINGS, *layout_files(cell.flavour)):
        text = templates.get_template(f"_layout/{file.template}").render(values)
        yield _file(file.path, file.mode, text.encode())
    for cell_file in cell_files(cell, lock):
        yield _file(cell_file.path, cell_file.mode, cell_file.content)


def _links(cell: Cell) -> Iterator[Node]:
    library = f"{ENVIRONMENT}/lib"
    targets = {
        **{
            link.path.removeprefix("/"): link.target
            for link in layout_links(cell.python, interpreter_path(cell))
        },
        f"{ENVIRONMENT}/lib64": "lib",
        f"{library}/python{cell.python}": "python",
        f"{ENVIRONMENT}/bin/python{cell.python}": interpreter_path(cell),
        f"{ENVIRONMENT}/bin/python3": "/usr/local/bin/python3",
        f"{ENVIRONMENT}/bin/python": "python3",
    }
    for path, target in targets.items():
        yield Node(path=path, kind="link", target=target)


def _environment(cell: Cell) -> Iterator[Node]:
    """Yield the empty environment, as `venv` makes it, and the user's folders."""
    for path in WRITABLE:
        yield _folder(path, mode=WRITABLE_MODE, owner="user")
    home = cell.user.home.removeprefix("/")
    for path in (home, *(f"{home}/{name}" for name in HOME_FOLDERS)):
        yield _folder(path, owner="user")
    yield _folder(f"{ENVIRONMENT}/include/python{cell.python}")
    yield _folder(f"{ENVIRONMENT}/lib/python/site-packages")
    python = re.escape(interpreter_path(cell))
    folder = re.escape(str(PurePosixPath(interpreter_path(cell)).parent))
    real = rf"(?:{python}|/opt/python/cpython-[^/\n]+/bin/python{re.escape(cell.python)})"
    yield Node(
        path=f"{ENVIRONMENT}/pyvenv.cfg",
        kind="file",
        mode=PLAIN_MODE,
        pattern=(
            rf"home = {folder}\ninclude-system-site-packages = false\n"
            rf"version = {re.escape(cell.python)}\.\d+\nexecutable = {real}\n"
            rf"command = {python} -m venv --without-pip /{ENVIRONMENT}\n"
        ),
    )


def _file(path: str, mode: str, content: bytes) -> Node:
    digest = sha256(content).hexdigest()
    return Node(path=path.removeprefix("/"), kind="file", mode=mode, sha256=digest)


def _folder(path: str, mode: str = PROGRAM_MODE, owner: Owner = "root") -> Node:
    return Node(path=path, kind="folder", mode=mode, owner=owner)
