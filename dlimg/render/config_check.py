"""Check of a rendered Dockerfile against the image's config: every setting has a source.

A template may run and copy, but environment, user, command and labels come from the layout, the
framework and the matrix; anything else is refused with the line of the template.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import takewhile
from typing import Any, Final, NamedTuple

import jinja2

from dlimg.errors import BadInput, Problem
from dlimg.model import Cell
from dlimg.render.dockerfile_parser import Instruction, Stage, parse_stages
from dlimg.render.image_config import SECOND, ImageConfig, affected_program

# A Dockerfile's words: quoted parts, escaped characters and plain text without variables.
_PART: Final = re.compile(r"""'[^']*'|"(?:[^"\\$]|\\.)*"|\\.|[^\s'"\\$]++""")
_WORD: Final = re.compile(rf"((?:{_PART.pattern})++)(?:\s+|\Z)")
_HEALTHCHECK: Final = re.compile(
    r"--interval=(\d{1,4})s --timeout=(\d{1,4})s --start-period=(\d{1,4})s --retries=(\d{1,2}) "
    r"CMD (\[.*\])"
)
_PORT: Final = re.compile(r"\d{1,5}(/(tcp|udp))?")
# Instructions that leave no trace in an image's config.
_HARMLESS: Final = ("FROM", "RUN", "COPY", "ADD", "ARG")
# The first lines of a Dockerfile may change how all others are read.
_DIRECTIVE: Final = re.compile(r"#\s*(syntax|escape)\s*=", re.IGNORECASE)
_WORDS: Final[Mapping[str, str]] = {
    "workdir": "WORKDIR",
    "user": "USER",
    "entrypoint": "ENTRYPOINT",
    "cmd": "CMD",
    "exposed": "EXPOSE",
    "shell": "SHELL",
    "healthcheck": "HEALTHCHECK",
}


class _Fault(NamedTuple):
    """A fault; `needles` are words that identify its line in a template."""

    message: str
    hint: str
    needles: tuple[str, ...]


def check_settings(
    text: str, cell: Cell, wanted: ImageConfig, templates: jinja2.Environment
) -> None:
    """Raise BadInput if the Dockerfile sets other things than this config."""
    faults = list(_faults(text, cell, wanted))
    if faults:
        raise BadInput.of(
            [
                Problem(
                    message=f"{fault.message}, for {cell.id}",
                    where=_place(fault, cell, templates),
                    hint=fault.hint,
                )
                for fault in faults
            ]
        )


def _faults(text: str, cell: Cell, wanted: ImageConfig) -> Iterator[_Fault]:
    directive = next(filter(_DIRECTIVE.match, takewhile(_is_comment, text.splitlines())), "")
    if directive:
        hint = "remove the line: dlimg renders for BuildKit's default syntax"
        yield _Fault(f"a directive for the parser: {directive}", hint, (directive,))
        return
    try:
        chain = list(_chain(text))
    except BadInput as error:
        yield _Fault(error.problems[0].message, "", ())
        return
    if chain[0].start.lower() != cell.os.base_name.lower():
        hint = f"begin its stages with {cell.os.base_name}"
        yield _Fault(f"the last stage starts from {chain[0].start}", hint, (chain[0].start,))
        return
    config = ImageConfig()
    for instruction in (item for stage in chain for item in stage.instructions):
        if instruction.word not in _HARMLESS:
            try:
                config = _with(config, instruction)
            except BadInput:
                yield _unknown(instruction)
                return
    yield from _environment_faults(config, cell, wanted)
    yield from _label_faults(config, wanted)
    yield from _other_faults(config, wanted)


def _is_comment(line: str) -> bool:
    return line.startswith("#")


def _chain(text: str) -> Iterator[Stage]:
    """Yield the stages that the last one starts from, then the last one."""
    stages_ = parse_stages(text)
    names = {stage.name.lower(): stage for stage in stages_ if stage.name}
    chain = [stages_[-1]]
    while chain[0].start.lower() in names and len(chain) <= len(stages_):
        chain.insert(0, names[chain[0].start.lower()])
    return iter(chain)


def _with(config: ImageConfig, instruction: Instruction) -> ImageConfig:
    if instruction.word == "SHELL":
        # It is read like a list of words, as ENTRYPOINT is.
        entry = replace(instruction, word="ENTRYPOINT")
        return ImageConfig(shell=with_instruction(ImageConfig(), entry).entrypoint).on(config)
    return with_instruction(config, instruction)


def _unknown(instruction: Instruction) -> _Fault:
    if instruction.word == "ENV":
        message = f"a variable whose value is known only in a build: ENV {instruction.text[:100]}"
        return _Fault(message, "state it under `env:` of the matrix, in full", (instruction.text,))
    message = f"an instruction that dlimg does not know: {instruction.word}"
    hint = "remove it; the layout sets how an image is run"
    return _Fault(message, hint, (f"{instruction.word} {instruction.text}", instruction.word))


def _environment_faults(config: ImageConfig, cell: Cell, wanted: ImageConfig) -> Iterator[_Fault]:
    real, promised = _pairs(config.env), _pairs(wanted.env)
    for name in real:
        if name not in promised:
            whose = affected_program(name, cell.framework)
            why = f" (it changes {whose})" if whose else ""
            hint = (
                f"state it in the matrix, under families: {cell.family}: "
                f"env: {{{name}: {{value: ..., why: ...}}}}"
            )
            yield _Fault(
                f"the template sets {name}{why}, which neither layout nor matrix states",
                hint,
                (name,),
            )
        elif real[name] != promised[name]:
            hint = "remove it from the template; layout and matrix set it"
            message = f"the template sets {name} to another value than {promised[name]!r}"
            yield _Fault(message, hint, (name,))
    for name in promised.keys() - real.keys():
        hint = "let the template extend _layout/Dockerfile.j2, or print `environment_lines`"
        yield _Fault(f"the template does not set {name}", hint, ("ENV",))


def _label_faults(config: ImageConfig, wanted: ImageConfig) -> Iterator[_Fault]:
    for name in sorted(config.labels.keys() | wanted.labels.keys()):
        if config.labels.get(name) != wanted.labels.get(name):
            state = "not expected" if name not in wanted.labels else "other than expected"
            hint = "remove it from the template; labels come from the matrix and the lock"
            yield _Fault(f"a label that is {state}: {name}", hint, (name, "LABEL"))


def _other_faults(config: ImageConfig, wanted: ImageConfig) -> Iterator[_Fault]:
    for field in fields(ImageConfig):
        instruction_name = _WORDS.get(field.name)
        value = getattr(wanted, field.name)
        if instruction_name and getattr(config, field.name) != value:
            hint = "remove it from the template; the layout sets it"
            value_text = " ".join(value) if isinstance(value, tuple) else value
            yield _Fault(
                f"{instruction_name} is not {value_text or 'left out'}", hint, (instruction_name,)
            )


def _pairs(variables: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in variables)}


def _place(fault: _Fault, cell: Cell, templates: jinja2.Environment) -> str:
    """Return file and line of the template with the fault, or else the family's template."""
    for needle in fault.needles:
        pattern = re.compile(rf"(?<![\w.-]){re.escape(needle)}(?![\w-])", re.IGNORECASE)
        for folder in (cell.family, cell.framework.folder, "_layout"):
            source, path = _source(templates, f"{folder}/Dockerfile.j2")
            for number, line in enumerate(source.splitlines(), 1):
                if pattern.search(line):
                    return f"{path}:{number}"
    own = (
        _source(templates, f"{folder}/Dockerfile.j2")[1]
        for folder in (cell.family, cell.framework.folder)
    )
    return next(filter(None, own), cell.id)


def _source(templates: jinja2.Environment, name: str) -> tuple[str, str]:
    if templates.loader is None:
        return "", ""
    try:
        source, path, _ = templates.loader.get_source(templates, name)
    except jinja2.TemplateNotFound:
        return "", ""
    return source, path or name


def with_instruction(config: ImageConfig, instruction: Instruction) -> ImageConfig:
    """Return the config after one more instruction. Raises BadInput for an unknown one."""
    if instruction.word == "HEALTHCHECK":
        return replace(config, healthcheck=_healthcheck(instruction))
    return _apply(config, instruction)


def _apply(config: ImageConfig, instruction: Instruction) -> ImageConfig:  # noqa: PLR0911  # one for each word
    match instruction.word:
        case "ENV":
            env = tuple(f"{name}={value}" for name, value in _assignments(instruction))
            return ImageConfig(env=env).on(config)
        case "LABEL":
            return replace(config, labels={**config.labels, **dict(_assignments(instruction))})
        case "WORKDIR" if instruction.text.startswith("/"):
            return replace(config, workdir=_single(instruction))
        case "USER":
            return replace(config, user=_single(instruction))
        case "ENTRYPOINT":
            return replace(config, entrypoint=_list(instruction), cmd=())
        case "CMD":
            return replace(config, cmd=_list(instruction))
        case "EXPOSE" if _PORT.fullmatch(instruction.text):
            port = instruction.text if "/" in instruction.text else f"{instruction.text}/tcp"
            return ImageConfig(exposed=(port,)).on(config)
    raise _unreadable(instruction)


def _assignments(instruction: Instruction) -> Iterator[tuple[str, str]]:
    for word in _words(instruction):
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise _unreadable(instruction)
        yield name, value


def _single(instruction: Instruction) -> str:
    values = list(_words(instruction))
    if len(values) != 1:
        raise _unreadable(instruction)
    return values[0]


def _list(instruction: Instruction) -> tuple[str, ...]:
    try:
        stages_ = json.loads(instruction.text)
    except (ValueError, RecursionError):
        raise _unreadable(instruction) from None
    if not isinstance(stages_, list) or not all(isinstance(part, str) for part in stages_):
        raise _unreadable(instruction)
    return tuple(stages_)


def _healthcheck(instruction: Instruction) -> Mapping[str, Any]:
    match = _HEALTHCHECK.fullmatch(instruction.text)
    if match is None:
        raise _unreadable(instruction)
    interval, timeout, start_period, retries = (int(number) for number in match.groups()[:4])
    return {
        "Test": ["CMD", *_list(replace(instruction, text=match[5]))],
        "Interval": interval * SECOND,
        "Timeout": timeout * SECOND,
        "StartPeriod": start_period * SECOND,
        "Retries": retries,
    }


def _words(instruction: Instruction) -> Iterator[str]:
    """Yield the words of an instruction without their quotes; variables are refused."""
    at = 0
    while at < len(instruction.text):
        match = _WORD.match(instruction.text, at)
        if match is None:
            raise _unreadable(instruction)
        yield "".join(_plain(part[0]) for part in _PART.finditer(match[1]))
        at = match.end()


def _plain(part: str) -> str:
    """Return the value of a quoted, escaped or plain part of a word."""
    if part.startswith("'"):
        return part[1:-1]
    if part.startswith('"'):
        return re.sub(r'\\(["\\$])', r"\1", part[1:-1])
    return part.removeprefix("\\")


def _unreadable(instruction: Instruction) -> BadInput:
    return BadInput(
        f"not an instruction that says how an image is run: {instruction.word} {instruction.text}",
        where=f"Dockerfile:{instruction.line}",
        hint="build this image with BuildKit",
    )
