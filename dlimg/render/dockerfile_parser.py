"""Parser of Dockerfiles, as far as templates use the language."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dlimg.errors import BadInput

# `<<<` begins no heredoc.
_HEREDOC: Final = re.compile(r"""(?<!<)<<-?(["']?)(\w+)\1""")
_FROM_STAGE: Final = re.compile(r"\bfrom=([\w.-]+)")
_TAKES_HEREDOC: Final = ("RUN", "COPY", "ADD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An instruction: its word, the rest with continued lines joined, and its source lines."""

    word: str
    text: str
    line: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage: its base, its name (or an empty text), and its instructions."""

    start: str
    name: str
    instructions: tuple[Instruction, ...]

    @property
    def source(self) -> str:
        """The source lines, without comments between instructions."""
        return "".join(instruction.source for instruction in self.instructions)


def parse_stages(dockerfile: str) -> tuple[Stage, ...]:
    """Return the stages in order. Raises BadInput, with the line, for other text."""
    groups: list[list[Instruction]] = []
    for instruction in _instructions(dockerfile.splitlines(keepends=True)):
        if instruction.word == "FROM":
            groups.append([])
        elif not groups:
            raise BadInput(
                f"{instruction.word} before the first FROM", where=f"Dockerfile:{instruction.line}"
            )
        groups[-1].append(instruction)
    if not groups:
        raise BadInput("a Dockerfile without FROM")
    return tuple(_stage(part) for part in groups)


def stage_closure(dockerfile: str, name: str) -> tuple[Stage, ...]:
    """Return the stage of this name with the stages that it needs, in the Dockerfile's order.

    Raises BadInput if the stage does not exist.
    """
    groups = parse_stages(dockerfile)
    if name not in {stage.name for stage in groups}:
        raise BadInput(f"the Dockerfile has no stage {name}")
    wanted = {name}
    for stage in reversed(groups):  # a stage can only name those before it
        if stage.name in wanted:
            wanted |= {stage.start, *_named(stage)}
    return tuple(stage for stage in groups if stage.name in wanted)


def _named(stage: Stage) -> Iterator[str]:
    """Yield the names after `from=` in the instructions' options; some are contexts, not stages."""
    for instruction in stage.instructions:
        if instruction.word in _TAKES_HEREDOC:
            yield from _FROM_STAGE.findall(instruction.text)


def _stage(part: Sequence[Instruction]) -> Stage:
    start, *rest = part[0].text.split()
    name = rest[1] if len(rest) == 2 and rest[0].upper() == "AS" else ""
    return Stage(start=start, name=name, instructions=tuple(part))


def _instructions(lines: Sequence[str]) -> Iterator[Instruction]:
    at = 0
    while at < len(lines):
        if _is_nothing(lines[at]):
            at += 1
            continue
        first = at
        text, at = _continued(lines, at)
        word, *others = text.split(maxsplit=1)
        word, rest = word.upper(), "".join(others)
        if word in _TAKES_HEREDOC:
            for _, end in _HEREDOC.findall(rest):
                at = _behind(lines, at, end)
        source = "".join(lines[first:at])
        yield Instruction(word=word, text=rest.strip(), line=first + 1, source=source)


def _continued(lines: Sequence[str], at: int) -> tuple[str, int]:
    """Return a line with its continuation, and the number of the next line."""
    text = ""
    while at < len(lines):
        line = lines[at].rstrip()
        at += 1
        if text and _is_nothing(line):
            continue
        if not line.endswith("\\"):
            return text + line, at
        text += line.removesuffix("\\")
    return text, at


def _behind(lines: Sequence[str], at: int, end: str) -> int:
    for number in range(at, len(lines)):
        if lines[number].strip("\t\r\n") == end:
            return number + 1
    raise BadInput(f"no line {end} ends the heredoc that begins here", where=f"Dockerfile:{at}")


def _is_nothing(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")
