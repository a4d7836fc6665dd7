"""The layer entries of a wheel's files, and of those that an installer adds.

The environment is the one that the Dockerfiles make: its site-packages path does not name the
Python, and `lib/python3.13` and `lib64` are links. Paths and contents are those of uv's install.
Added files (INSTALLER, REQUESTED, commands, RECORD) depend on the cell, so they are not in the
wheel's layer.
"""

import configparser
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dlimg.layer.entries import EXECUTABLE_MODE, FILE_MODE, LayerEntry, PackedContent, folder_entry
from dlimg.wheel.archive import ArchiveMember
from dlimg.wheel.errors import invalid_wheel
from dlimg.wheel.metadata import (
    OpenWheel,
    RecordRow,
    complete_rows,
    format_record,
    parse_record,
    record_row,
)
from dlimg.wheel.unpack import iter_content, read_content

INTERPRETER: Final = "/opt/env/bin/python"
PLACEHOLDER: Final = b"#!python"
_ENTRY_POINT: Final = re.compile(r"([\w\-.]+)\s*:\s*([\w\-.]+)\s*(?:\[[^\[\]]+\]\s*)?")
_FIRST_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
# Commands that the environment itself has in its `bin`.
_RESERVED_COMMANDS: Final = re.compile(r"python(?:w|3(?:\.\d+)?)?|activate(?:\.\w+)?|Activate\.ps1")
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
ENVIRONMENT: Final = "opt/env"
LIBRARY: Final = f"{ENVIRONMENT}/lib/python/site-packages"
# Metadata files that an installer writes for each environment.
INSTALLER_FILES: Final = ("INSTALLER", "RECORD", "REQUESTED")
# Files and links of the environment itself.
_ENVIRONMENT_PATHS: Final = re.compile(r"pyvenv\.cfg|pip\.conf|lib64|lib|bin|lib/python3\.\d+")
# Modules of the layout in site-packages.
_LAYOUT_MODULES: Final = re.compile(r"dlimg_start(\.py|\.pth|/.*)?")
_NAMES_PYTHON: Final = re.compile(r"headers(/|\Z)|data/lib(64)?/python3\.")
INSTALLER: Final = b"uv"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleScript:
    """A command in `bin` that calls a function."""

    name: str
    module: str
    function: str


def console_scripts(text: str, *, python: str, file: str) -> tuple[ConsoleScript, ...]:
    """Return the commands of an `entry_points.txt`, console commands first.

    pip gets another command with the Python's version in its name. Raises BadInput for an invalid
    file.
    """
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser says
    try:
        parser.read_string(text)
    except configparser.Error as error:
        reason = str(error).splitlines()[0]
        raise invalid_wheel(file, f"its entry_points.txt cannot be read: {reason}") from None
    console = [
        command
        for command in _read_section(parser, "console_scripts", file)
        if not _VERSIONED_PIP.fullmatch(command.name)
    ]
    pips = [
        ConsoleScript(name=f"pip{python}", module=command.module, function=command.function)
        for command in console
        if command.name == "pip3"
    ]
    return (*console, *pips, *_read_section(parser, "gui_scripts", file))


def launcher_script(command: ConsoleScript) -> bytes:
    """Return the content of the command's file."""
    text = _LAUNCHER.format(
        interpreter=INTERPRETER,
        module=command.module,
        imported=command.function.partition(".")[0],
        function=command.function,
    )
    return text.encode()


def rewrite_shebang(script: bytes) -> bytes:
    """Replace the first line of a script by the environment's interpreter."""
    return f"#!{INTERPRETER}\n".encode() + _FIRST_LINE.sub(b"", script, count=1)


def is_replaced(script: str, commands: tuple[ConsoleScript, ...]) -> bool:
    """Return whether a command of the same name replaces the wheel's script."""
    for suffix in (".exe", "-script.py", ".pya"):
        if script.endswith(suffix):
            script = script.removesuffix(suffix)
            break
    return any(command.name == script for command in commands)


def check_command_name(name: str, *, file: str) -> None:
    """Raise BadInput for a command with an invalid name, or a name of the environment's own."""
    if _RESERVED_COMMANDS.fullmatch(name):
        raise invalid_wheel(
            file, f"its command {name} would replace that of the image's environment"
        )
    if not name or "/" in name or name in {".", ".."} or not name.isprintable():
        raise invalid_wheel(file, f"{name!r} cannot be a command")


def _read_section(
    parser: configparser.ConfigParser, section: str, file: str
) -> list[ConsoleScript]:
    if not parser.has_section(section):
        return []
    commands = []
    for name, value in parser.items(section):
        check_command_name(name, file=file)
        match = _ENTRY_POINT.fullmatch(value)
        if match is None:
            raise invalid_wheel(file, f"its command {name} calls {value!r}, which is no function")
        commands.append(ConsoleScript(name=name, module=match[1], function=match[2]))
    return commands


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedMember:
    """A member with its path in the image and in RECORD; `script` is true for a script."""

    member: ArchiveMember
    path: str
    recorded: str
    script: bool = False


def depends_on_python(wheel: OpenWheel) -> bool:
    """Return whether the layer depends on the Python: an installed path has its version."""
    start = f"{wheel.data_folder}/"
    return any(
        member.path.startswith(start) and _NAMES_PYTHON.match(member.path.removeprefix(start))
        for member in wheel.archive.members
    )


def place_members(wheel: OpenWheel, *, python: str) -> Iterator[PlacedMember]:
    """Yield every installed member with its path; raises BadInput for one that cannot be installed.

    A script with the name of a command is not installed: the command is.
    """
    commands = console_scripts(wheel.text("entry_points.txt"), python=python, file=wheel.file)
    for member in wheel.archive.members:
        top, _, rest = member.path.partition("/")
        if top != wheel.data_folder:
            _check_module(wheel, member.path)
            yield PlacedMember(member=member, path=f"{LIBRARY}/{member.path}", recorded=member.path)
            continue
        scheme, _, inner = rest.partition("/")
        if scheme == "scripts" and (not inner or is_replaced(inner, commands)):
            continue
        if scheme:
            yield _place_in_scheme(wheel, member, (scheme, inner), python)


def wheel_entries(wheel: OpenWheel, *, python: str) -> Iterator[LayerEntry]:
    """Yield the entries of the wheel's layer, without those that depend on the cell."""
    added = {f"{wheel.dist_info}/{name}" for name in INSTALLER_FILES}
    for placed in place_members(wheel, python=python):
        member = placed.member
        if member.path in added:
            continue
        if member.folder:
            yield folder_entry(placed.path, owner=wheel.file)
            continue
        executable = placed.script or member.executable
        yield LayerEntry(
            path=placed.path,
            mode=EXECUTABLE_MODE if executable else FILE_MODE,
            content=rewritten_script(wheel, placed)
            or PackedContent(wheel=wheel.archive.path, member=member),
            owner=wheel.file,
        )


def rewritten_script(wheel: OpenWheel, placed: PlacedMember) -> bytes | None:
    """Return the content of a script with the placeholder `#!python`, or None for other members."""
    if not placed.script:
        return None
    start = b""
    for chunk in iter_content(wheel.archive.path, placed.member):
        start += chunk
        if len(start) >= len(PLACEHOLDER):
            break
    if not start.startswith(PLACEHOLDER):
        return None
    return rewrite_shebang(read_content(wheel.archive, placed.member))


def _place_in_scheme(
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
                raise invalid_wheel(wheel.file, f"{member.path} is in a folder of its scripts")
            below = f"bin/{inner}"
        case "data":
            below = inner
        case _:
            raise invalid_wheel(
                wheel.file, f"{member.path} is for {scheme!r}, which is no known scheme"
            )
    below = below.rstrip("/")
    _check_free(wheel, member, below)
    library = f"lib/python{python}/site-packages"
    return PlacedMember(
        member=member,
        path=posixpath.join(ENVIRONMENT, _follow_links(below, python)).rstrip("/"),
        recorded=posixpath.relpath(f"/{below}", f"/{library}"),
        script=scheme == "scripts",
    )


def _check_module(wheel: OpenWheel, path: str) -> None:
    if _LAYOUT_MODULES.fullmatch(path):
        raise invalid_wheel(
            wheel.file, f"{path} would replace what every Python of the image starts with"
        )


def _check_free(wheel: OpenWheel, member: ArchiveMember, below: str) -> None:
    if member.folder:
        return
    if not below or _ENVIRONMENT_PATHS.fullmatch(below):
        raise invalid_wheel(wheel.file, f"{member.path} would replace a part of the environment")
    top, _, name = below.partition("/")
    if top == "bin" and "/" not in name:
        check_command_name(name, file=wheel.file)


def _follow_links(below: str, python: str) -> str:
    """Return the path with the environment's links followed: a layer must not replace them."""
    parts = below.split("/")
    if parts[0] == "lib64":
        parts[0] = "lib"
    if parts[:2] == ["lib", f"python{python}"]:
        parts[1] = "python"
    return "/".join(parts)


def installer_entries(wheel: OpenWheel, *, python: str, requested: bool) -> Iterator[LayerEntry]:
    """Yield the files that uv adds to a wheel; `requested` adds REQUESTED.

    For uv everything in the given requirements is requested, and a cell's Dockerfile gives it the
    whole lock.
    """
    folder = wheel.dist_info
    written = {"INSTALLER": INSTALLER, **({"REQUESTED": b""} if requested else {})}
    rows = _record_rows(wheel, python, requested=requested)
    for name, data in written.items():
        rows.append(record_row(f"{folder}/{name}", data))
        yield _file_entry(wheel, f"{LIBRARY}/{folder}/{name}", FILE_MODE, data)
    launchers = {}
    for command in console_scripts(wheel.text("entry_points.txt"), python=python, file=wheel.file):
        launchers[command.name] = launcher_script(command)
        rows.append(record_row(f"../../../bin/{command.name}", launchers[command.name]))
    for name, data in launchers.items():
        yield _file_entry(wheel, f"{ENVIRONMENT}/bin/{name}", EXECUTABLE_MODE, data)
    text = format_record(rows)
    yield _file_entry(wheel, f"{LIBRARY}/{folder}/RECORD", _record_mode(wheel), text.encode())


def _record_mode(wheel: OpenWheel) -> int:
    """Return the mode of the wheel's own RECORD, which uv overwrites and does not replace."""
    record = wheel.member(f"{wheel.dist_info}/RECORD")
    return EXECUTABLE_MODE if record and record.executable else FILE_MODE


def _record_rows(wheel: OpenWheel, python: str, *, requested: bool) -> list[RecordRow]:
    """Return the wheel's rows with the paths and contents of the files in the image."""
    sizes = {member.path: member.size for member in wheel.archive.members if not member.folder}
    if not requested:
        sizes.pop(f"{wheel.dist_info}/REQUESTED", None)
    rows = complete_rows(parse_record(wheel.text("RECORD"), file=wheel.file), sizes)
    for placed in place_members(wheel, python=python):
        path = placed.member.path
        if placed.recorded != path and not placed.member.folder:
            rows[path] = _moved_row(wheel, placed, rows[path])
    return list(rows.values())


def _moved_row(wheel: OpenWheel, placed: PlacedMember, old: RecordRow) -> RecordRow:
    content = rewritten_script(wheel, placed)
    if content is None:
        return RecordRow(placed.recorded, old.identity, old.size)
    return record_row(placed.recorded, content)


def _file_entry(wheel: OpenWheel, path: str, mode: int, content: bytes) -> LayerEntry:
    return LayerEntry(path=path, mode=mode, content=content, owner=wheel.file)
