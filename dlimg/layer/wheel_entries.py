"""Where a wheel's members land in the image, and how: a wheel comes in, entries come out.

The environment is the one that the Dockerfiles make: its library path does not name the Python,
and `lib/python3.13` and `lib64` are links. What is here follows uv's install into it.
"""

import configparser
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dlimg.layer.entries import EXECUTABLE, PLAIN, LayerEntry, PackedContent, folder
from dlimg.wheel.archive import ArchiveMember
from dlimg.wheel.errors import unfit
from dlimg.wheel.metadata import OpenWheel
from dlimg.wheel.unpack import content, plain_pieces

INTERPRETER: Final = "/opt/env/bin/python"
PLACEHOLDER: Final = b"#!python"
_VALUE: Final = re.compile(r"([\w\-.]+)\s*:\s*([\w\-.]+)\s*(?:\[[^\[\]]+\]\s*)?")
_FIRST_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
# What the environment itself has in its `bin`.
_RESERVED: Final = re.compile(r"python(?:w|3(?:\.\d+)?)?|activate(?:\.\w+)?|Activate\.ps1")
_VERSIONED_PIP: Final = re.compile(r"pip3\.\d{1,3}")

_LAUNCHER: Final = """\
#!{interpreter}
# -*- coding: utf-8 -*-
import sys
from {module} import {imported}
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({function}())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleScript:
    """A command in `bin` that calls a function."""

    name: str
    module: str
    function: str


def commands(text: str, *, python: str, file: str) -> tuple[ConsoleScript, ...]:
    """What an `entry_points.txt` asks for, console commands first; raises BadInput for a bad one.

    pip gets one more command, named after the Python that it is for, as its users expect.
    """
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser says
    try:
        parser.read_string(text)
    except configparser.Error as error:
        reason = str(error).splitlines()[0]
        raise unfit(file, f"its entry_points.txt cannot be read: {reason}") from None
    console = [
        command
        for command in _section(parser, "console_scripts", file)
        if not _VERSIONED_PIP.fullmatch(command.name)
    ]
    pips = [
        ConsoleScript(name=f"pip{python}", module=command.module, function=command.function)
        for command in console
        if command.name == "pip3"
    ]
    return (*console, *pips, *_section(parser, "gui_scripts", file))


def launcher(command: ConsoleScript) -> bytes:
    """The command's file."""
    text = _LAUNCHER.format(
        interpreter=INTERPRETER,
        module=command.module,
        imported=command.function.partition(".")[0],
        function=command.function,
    )
    return text.encode()


def rewritten(script: bytes) -> bytes:
    """A script that begins with `#!python`, for the interpreter of the environment."""
    return f"#!{INTERPRETER}\n".encode() + _FIRST_LINE.sub(b"", script, count=1)


def covered(script: str, found: tuple[ConsoleScript, ...]) -> bool:
    """Whether a wheel's own script gives way to a command of the same name."""
    for suffix in (".exe", "-script.py", ".pya"):
        if script.endswith(suffix):
            script = script.removesuffix(suffix)
            break
    return any(command.name == script for command in found)


def check_name(name: str, *, file: str) -> None:
    """Raises BadInput for a command that would hide one of the environment's own."""
    if _RESERVED.fullmatch(name):
        raise unfit(file, f"its command {name} would replace that of the image's environment")
    if not name or "/" in name or name in {".", ".."} or not name.isprintable():
        raise unfit(file, f"{name!r} cannot be a command")


def _section(parser: configparser.ConfigParser, section: str, file: str) -> list[ConsoleScript]:
    if not parser.has_section(section):
        return []
    found = []
    for name, value in parser.items(section):
        check_name(name, file=file)
        match = _VALUE.fullmatch(value)
        if match is None:
            raise unfit(file, f"its command {name} calls {value!r}, which is no function")
        found.append(ConsoleScript(name=name, module=match[1], function=match[2]))
    return found


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
class PlacedMember:
    """A member with its path in the image, and as RECORD writes it; `script` when it is one."""

    member: ArchiveMember
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


def placed(wheel: OpenWheel, *, python: str) -> Iterator[PlacedMember]:
    """Every member that is installed, with its place; raises BadInput where there is none for it.

    A script with the name of a console command is not installed: the command is.
    """
    found = commands(wheel.text("entry_points.txt"), python=python, file=wheel.file)
    for member in wheel.archive.members:
        top, _, rest = member.path.partition("/")
        if top != wheel.scheme_folder:
            _check_module(wheel, member.path)
            yield PlacedMember(member=member, path=f"{LIBRARY}/{member.path}", recorded=member.path)
            continue
        scheme, _, inner = rest.partition("/")
        if scheme == "scripts" and (not inner or covered(inner, found)):
            continue
        if scheme:
            yield _in_scheme(wheel, member, (scheme, inner), python)


def entries(wheel: OpenWheel, *, python: str) -> Iterator[LayerEntry]:
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
        yield LayerEntry(
            path=one.path,
            mode=EXECUTABLE if executable else PLAIN,
            content=script_content(wheel, one)
            or PackedContent(wheel=wheel.archive.path, member=member),
            owner=wheel.file,
        )


def script_content(wheel: OpenWheel, one: PlacedMember) -> bytes | None:
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


def _in_scheme(
    wheel: OpenWheel, member: ArchiveMember, parts: tuple[str, str], python: str
) -> PlacedMember:
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
    return PlacedMember(
        member=member,
        path=posixpath.join(ENVIRONMENT, _without_links(below, python)).rstrip("/"),
        recorded=posixpath.relpath(f"/{below}", f"/{library}"),
        script=scheme == "scripts",
    )


def _check_module(wheel: OpenWheel, path: str) -> None:
    if _LAYOUT_MODULES.fullmatch(path):
        raise unfit(wheel.file, f"{path} would replace what every Python of the image starts with")


def _check_free(wheel: OpenWheel, member: ArchiveMember, below: str) -> None:
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
