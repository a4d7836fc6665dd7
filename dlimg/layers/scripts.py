"""Commands in `bin`: what `entry_points.txt` names, and scripts with `#!python`, as uv has them."""

import configparser
import re
from dataclasses import dataclass
from typing import Final

from dlimg.layers.faults import unfit

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
class Command:
    """A command in `bin` that calls a function."""

    name: str
    module: str
    function: str


def commands(text: str, *, python: str, file: str) -> tuple[Command, ...]:
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
        Command(name=f"pip{python}", module=command.module, function=command.function)
        for command in console
        if command.name == "pip3"
    ]
    return (*console, *pips, *_section(parser, "gui_scripts", file))


def launcher(command: Command) -> bytes:
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


def covered(script: str, found: tuple[Command, ...]) -> bool:
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


def _section(parser: configparser.ConfigParser, section: str, file: str) -> list[Command]:
    if not parser.has_section(section):
        return []
    found = []
    for name, value in parser.items(section):
        check_name(name, file=file)
        match = _VALUE.fullmatch(value)
        if match is None:
            raise unfit(file, f"its command {name} calls {value!r}, which is no function")
        found.append(Command(name=name, module=match[1], function=match[2]))
    return found
