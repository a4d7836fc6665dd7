"""Where a wheel's members land in the image, and how: a wheel comes in, entries come out.

The environment is the one that the Dockerfiles make: its library path does not name the Python,
and `lib/python3.13` and `lib64` are links. What is here follows uv's install into it.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dlimg.layers.archive import Member
from dlimg.layers.entry import EXECUTABLE, PLAIN, Entry, Packed, folder
from dlimg.layers.faults import unfit
from dlimg.layers.scripts import PLACEHOLDER, check_name, commands, covered, rewritten
from dlimg.layers.unpack import content, plain_pieces
from dlimg.layers.wheel import OpenWheel

ENVIRONMENT: Final = "opt/env"
LIBRARY: Final = f"{ENVIRONMENT}/lib/python/site-packages"

# What an installer writes anew for each environment.
REWRITTEN: Final = ("INSTALLER", "RECORD", "REQUESTED")

# Paths that the environment itself has, and which are no folders.
_TAKEN: Final = re.compile(r"pyvenv\.cfg|pip\.conf|lib64|lib|bin|lib/python3\.\d+")
# What the layout has among the packages.
_LAYOUT_MODULES: Final = re.compile(r"dlimg_start(\.py|\.pth|/.*)?")
_NAMES_PYTHON: Final = re.compile(r"headers(/|\Z)|data/lib(64)?/python3\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A member with its path in the image, and as RECORD writes it; `script` when it is one."""

    member: Member
    path: str
    recorded: str
    script: bool = False


def depends_on_python(wheel: OpenWheel) -> bool:
    """Whether a member's path names the Python, so that the layer is not the same for all."""
    start = f"{wheel.scheme_folder}/"
    return any(
        member.path.startswith(start) and _NAMES_PYTHON.match(member.path.removeprefix(start))
        for member in wheel.archive.members
    )


def placed(wheel: OpenWheel, *, python: str) -> Iterator[Placed]:
    """Every member that is installed, with its place; raises BadInput where there is none for it.

    A script with the name of a console command is not installed: the command is.
    """
    found = commands(wheel.text("entry_points.txt"), python=python, file=wheel.file)
    for member in wheel.archive.members:
        top, _, rest = member.path.partition("/")
        if top != wheel.scheme_folder:
            _check_module(wheel, member.path)
            yield Placed(member=member, path=f"{LIBRARY}/{member.path}", recorded=member.path)
            continue
        scheme, _, inner = rest.partition("/")
        if scheme == "scripts" and (not inner or covered(inner, found)):
            continue
        if scheme:
            yield _in_scheme(wheel, member, (scheme, inner), python)


def entries(wheel: OpenWheel, *, python: str) -> Iterator[Entry]:
    """The wheel's own files as the layer has them, without those that depend on the cell."""
    own = {f"{wheel.information}/{name}" for name in REWRITTEN}
    for one in placed(wheel, python=python):
        member = one.member
        if member.path in own:
            continue
        if member.folder:
            yield folder(one.path, owner=wheel.file)
            continue
        executable = one.script or member.executable
        yield Entry(
            path=one.path,
            mode=EXECUTABLE if executable else PLAIN,
            content=script_content(wheel, one) or Packed(wheel=wheel.archive.path, member=member),
            owner=wheel.file,
        )


def script_content(wheel: OpenWheel, one: Placed) -> bytes | None:
    """A script's content where it has to change, else nothing."""
    if not one.script:
        return None
    start = b""
    for piece in plain_pieces(wheel.archive.path, one.member):
        start += piece
        if len(start) >= len(PLACEHOLDER):
            break
    if not start.startswith(PLACEHOLDER):
        return None
    return rewritten(content(wheel.archive, one.member))


def _in_scheme(wheel: OpenWheel, member: Member, parts: tuple[str, str], python: str) -> Placed:
    scheme, inner = parts
    match scheme:
        case "purelib" | "platlib":
            _check_module(wheel, inner)
            below = f"lib/python{python}/site-packages/{inner}"
        case "headers":
            below = f"include/site/python{python}/{wheel.name}/{inner}"
        case "scripts":
            if member.folder or "/" in inner:
                raise unfit(wheel.file, f"{member.path} is in a folder of its scripts")
            below = f"bin/{inner}"
        case "data":
            below = inner
        case _:
            raise unfit(wheel.file, f"{member.path} is for {scheme!r}, which is no known place")
    below = below.rstrip("/")
    _check_free(wheel, member, below)
    library = f"lib/python{python}/site-packages"
    return Placed(
        member=member,
        path=posixpath.join(ENVIRONMENT, _without_links(below, python)).rstrip("/"),
        recorded=posixpath.relpath(f"/{below}", f"/{library}"),
        script=scheme == "scripts",
    )


def _check_module(wheel: OpenWheel, path: str) -> None:
    if _LAYOUT_MODULES.fullmatch(path):
        raise unfit(wheel.file, f"{path} would replace what every Python of the image starts with")


def _check_free(wheel: OpenWheel, member: Member, below: str) -> None:
    if member.folder:
        return
    if not below or _TAKEN.fullmatch(below):
        raise unfit(wheel.file, f"{member.path} would replace a part of the environment")
    top, _, name = below.partition("/")
    if top == "bin" and "/" not in name:
        check_name(name, file=wheel.file)


def _without_links(below: str, python: str) -> str:
    """The path with the environment's own links followed: a layer must not replace them."""
    parts = below.split("/")
    if parts[0] == "lib64":
        parts[0] = "lib"
    if parts[:2] == ["lib", f"python{python}"]:
        parts[1] = "python"
    return "/".join(parts)
