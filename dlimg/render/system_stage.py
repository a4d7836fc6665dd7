"""The stage `system` as one step: a script with its files and secrets.

It is executed without BuildKit. Anything else, such as a Python from another stage, is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dlimg.errors import BadInput
from dlimg.render.bake import SYSTEM_STAGE
from dlimg.render.dockerfile_parser import Instruction, Stage, stage_closure

# The arguments before a heredoc whose text is literal, because its delimiter is quoted.
_RUN: Final = re.compile(r"((?:--mount=\S+\s+)*)<<'\w+'")
_COPY: Final = re.compile(r"--chmod=([0-7]{3,4})\s+<<'\w+'\s+/([\w.-]+)")
_SECRET_MODE: Final = "0400"  # noqa: S105 - BuildKit's default


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineFile:
    """A file whose text is in the Dockerfile."""

    name: str
    mode: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemStep:
    """A step to execute: `shell` with the script as its last word.

    `files` are by the folder that the script reads them from, `secrets` modes by id.
    """

    shell: tuple[str, ...]
    script: str
    files: Mapping[str, tuple[InlineFile, ...]]
    secrets: Mapping[str, int]


def parse_system_step(dockerfile: str) -> SystemStep:
    """Return the step of the system's stage. Raises BadInput, with the line, for other stages."""
    stages = {stage.name: stage for stage in stage_closure(dockerfile, SYSTEM_STAGE)}
    instructions = stages[SYSTEM_STAGE].instructions
    if [instruction.word for instruction in instructions] != ["FROM", "SHELL", "RUN"]:
        raise _refused(instructions[-1], "its system stage has other instructions than one RUN")
    _, shell, run = instructions
    match = _RUN.fullmatch(run.text)
    if match is None:
        raise _refused(run, "its system stage has a RUN without a quoted heredoc")
    files: dict[str, tuple[InlineFile, ...]] = {}
    secrets: dict[str, int] = {}
    for mount in match[1].split():
        options_text = mount.removeprefix("--mount=").split(",")
        options = dict(word.partition("=")[::2] for word in options_text)
        match options:
            case {"type": "bind", "from": name, "target": target, **rest} if len(rest) == 0:
                files[target] = tuple(_files(stages.get(name), run))
            case {"type": "secret", "id": name, "required": "false", **rest} if rest.keys() <= {
                "mode"
            }:
                secrets[name] = int(rest.get("mode", _SECRET_MODE), 8)
            case _:
                raise _refused(run, f"its system stage takes {mount}")
    return SystemStep(shell=_shell(shell), script=_heredoc(run), files=files, secrets=secrets)


def _files(stage: Stage | None, run: Instruction) -> Iterator[InlineFile]:
    """Yield the files of a stage that has only files."""
    if stage is None or stage.start != "scratch":
        raise _refused(run, "its system stage takes more than files")
    for instruction in stage.instructions[1:]:
        match = _COPY.fullmatch(instruction.text) if instruction.word == "COPY" else None
        if match is None:
            raise _refused(instruction, f"stage {stage.name} holds more than files")
        yield InlineFile(name=match[2], mode=int(match[1], 8), text=_heredoc(instruction))


def _shell(instruction: Instruction) -> tuple[str, ...]:
    try:
        stages: Sequence[str] = json.loads(instruction.text)
    except (ValueError, RecursionError):
        raise _refused(instruction, "its shell is no list of words") from None
    return tuple(stages)


def _heredoc(instruction: Instruction) -> str:
    """Return the text of a heredoc; its delimiter ends the last joined line."""
    lines = instruction.source.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if "<<'" in line)
    return "".join(lines[first + 1 : -1])


def _refused(instruction: Instruction, message: str) -> BadInput:
    hint = "build it with an engine"
    return BadInput(message, where=f"Dockerfile:{instruction.line}", hint=hint)
