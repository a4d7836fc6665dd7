"""The stage with the operating system as one step: a script, the files it is given, its secrets.

For who executes it without BuildKit. What is more than that, such as a Python that another stage
installs, is refused by name.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dlimg.errors import BadInput
from dlimg.render.bake import SYSTEM_STAGE
from dlimg.render.dockerfile_parser import Instruction, Stage, closure

# The words before a heredoc whose text is taken as it is, because its mark is quoted.
_RUN: Final = re.compile(r"((?:--mount=\S+\s+)*)<<'\w+'")
_COPY: Final = re.compile(r"--chmod=([0-7]{3,4})\s+<<'\w+'\s+/([\w.-]+)")
_SECRET_MODE: Final = "0400"  # noqa: S105 - BuildKit's default


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineFile:
    """A file that the Dockerfile itself holds."""

    name: str
    mode: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemStep:
    """A step to execute: `shell` with the script as its last word.

    `files` are by the folder where the script finds them, `secrets` modes by id: those there are.
    """

    shell: tuple[str, ...]
    script: str
    files: Mapping[str, tuple[InlineFile, ...]]
    secrets: Mapping[str, int]


def system_step(dockerfile: str) -> SystemStep:
    """The one step of the system's stage; raises BadInput, with the line, where it is more."""
    found = {stage.name: stage for stage in closure(dockerfile, SYSTEM_STAGE)}
    instructions = found[SYSTEM_STAGE].instructions
    if [one.word for one in instructions] != ["FROM", "SHELL", "RUN"]:
        raise _refused(instructions[-1], "its system stage has other steps than one RUN")
    _, shell, run = instructions
    said = _RUN.fullmatch(run.text)
    if said is None:
        raise _refused(run, "its system stage has a RUN that is no quoted heredoc")
    files: dict[str, tuple[InlineFile, ...]] = {}
    secrets: dict[str, int] = {}
    for mount in said[1].split():
        words = mount.removeprefix("--mount=").split(",")
        options = dict(word.partition("=")[::2] for word in words)
        match options:
            case {"type": "bind", "from": name, "target": target, **rest} if len(rest) == 0:
                files[target] = tuple(_files(found.get(name), run))
            case {"type": "secret", "id": name, "required": "false", **rest} if rest.keys() <= {
                "mode"
            }:
                secrets[name] = int(rest.get("mode", _SECRET_MODE), 8)
            case _:
                raise _refused(run, f"its system stage takes {mount}")
    return SystemStep(shell=_shell(shell), script=_heredoc(run), files=files, secrets=secrets)


def _files(stage: Stage | None, run: Instruction) -> Iterator[InlineFile]:
    """The files of a stage that has nothing else."""
    if stage is None or stage.start != "scratch":
        raise _refused(run, "its system stage takes more than files")
    for one in stage.instructions[1:]:
        said = _COPY.fullmatch(one.text) if one.word == "COPY" else None
        if said is None:
            raise _refused(one, f"stage {stage.name} holds more than files")
        yield InlineFile(name=said[2], mode=int(said[1], 8), text=_heredoc(one))


def _shell(one: Instruction) -> tuple[str, ...]:
    try:
        found: Sequence[str] = json.loads(one.text)
    except (ValueError, RecursionError):
        raise _refused(one, "its shell is no list of words") from None
    return tuple(found)


def _heredoc(one: Instruction) -> str:
    """The lines between the marks; the mark is at the end of the last joined line."""
    lines = one.source.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if "<<'" in line)
    return "".join(lines[first + 1 : -1])


def _refused(one: Instruction, message: str) -> BadInput:
    hint = "build it with an engine"
    return BadInput(message, where=f"Dockerfile:{one.line}", hint=hint)
