"""An image's config, and how the instructions of a Dockerfile add up to one.

`image_config` has the config that an image is to have, as data; here a rendered Dockerfile is read
back, to compare the two.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dlimg.errors import BadInput
from dlimg.render.dockerfile_parser import Instruction, stages

# A Dockerfile's words: quoted parts, escaped characters and plain text without variables.
_PART: Final = re.compile(r"""'[^']*'|"(?:[^"\\$]|\\.)*"|\\.|[^\s'"\\$]++""")
_WORD: Final = re.compile(rf"((?:{_PART.pattern})++)(?:\s+|\Z)")
_HEALTHCHECK: Final = re.compile(
    r"--interval=(\d{1,4})s --timeout=(\d{1,4})s --start-period=(\d{1,4})s --retries=(\d{1,2}) "
    r"CMD (\[.*\])"
)
SECOND: Final = 1_000_000_000  # in the nanoseconds that engines count in
_PORT: Final = re.compile(r"\d{1,5}(/(tcp|udp))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """How an image is run, in the words of an image's config; empty is not said."""

    env: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    healthcheck: Mapping[str, Any] = field(default_factory=dict)

    def on(self, below: "ImageConfig") -> "ImageConfig":
        """What this and the config of the stage below come to; a variable keeps its place."""
        env = {_name(one): one for one in (*below.env, *self.env)}
        return ImageConfig(
            env=tuple(env.values()),
            labels={**below.labels, **self.labels},
            workdir=self.workdir or below.workdir,
            user=self.user or below.user,
            entrypoint=self.entrypoint or below.entrypoint,
            cmd=self.cmd or below.cmd,
            exposed=tuple(sorted({*below.exposed, *self.exposed})),
            shell=self.shell or below.shell,
            healthcheck=self.healthcheck or below.healthcheck,
        )


def image_config(dockerfile: str) -> ImageConfig:
    """What the last stage of a rendered Dockerfile says behind its one RUN, the install.

    Raises BadInput for an instruction that has to be executed, and for one that is not known:
    such an image takes BuildKit.
    """
    last = stages(dockerfile)[-1]
    words = [one.word for one in last.instructions]
    if words.count("RUN") != 1 or words[:2] != ["FROM", "RUN"]:
        raise BadInput(
            "the last stage must begin with the one RUN that installs the locked wheels",
            where=f"Dockerfile:{last.instructions[0].line}",
            hint="build this image with BuildKit",
        )
    config = ImageConfig()
    for one in last.instructions[2:]:
        config = with_instruction(config, one)
    return config


def with_instruction(config: ImageConfig, one: Instruction) -> ImageConfig:
    """The config after one more instruction; raises BadInput for one that is not known."""
    if one.word == "HEALTHCHECK":
        return replace(config, healthcheck=_healthcheck(one))
    return _with(config, one)


def _with(config: ImageConfig, one: Instruction) -> ImageConfig:  # noqa: PLR0911  # one for each word
    match one.word:
        case "ENV":
            env = tuple(f"{name}={value}" for name, value in _pairs(one))
            return ImageConfig(env=env).on(config)
        case "LABEL":
            return replace(config, labels={**config.labels, **dict(_pairs(one))})
        case "WORKDIR" if one.text.startswith("/"):
            return replace(config, workdir=_single(one))
        case "USER":
            return replace(config, user=_single(one))
        case "ENTRYPOINT":
            return replace(config, entrypoint=_list(one), cmd=())
        case "CMD":
            return replace(config, cmd=_list(one))
        case "EXPOSE" if _PORT.fullmatch(one.text):
            port = one.text if "/" in one.text else f"{one.text}/tcp"
            return ImageConfig(exposed=(port,)).on(config)
    raise _refused(one)


def _pairs(one: Instruction) -> Iterator[tuple[str, str]]:
    for word in _words(one):
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise _refused(one)
        yield name, value


def _single(one: Instruction) -> str:
    words = list(_words(one))
    if len(words) != 1:
        raise _refused(one)
    return words[0]


def _list(one: Instruction) -> tuple[str, ...]:
    try:
        found = json.loads(one.text)
    except (ValueError, RecursionError):
        raise _refused(one) from None
    if not isinstance(found, list) or not all(isinstance(part, str) for part in found):
        raise _refused(one)
    return tuple(found)


def _healthcheck(one: Instruction) -> Mapping[str, Any]:
    match = _HEALTHCHECK.fullmatch(one.text)
    if match is None:
        raise _refused(one)
    interval, timeout, start_period, retries = (int(number) for number in match.groups()[:4])
    return {
        "Test": ["CMD", *_list(replace(one, text=match[5]))],
        "Interval": interval * SECOND,
        "Timeout": timeout * SECOND,
        "StartPeriod": start_period * SECOND,
        "Retries": retries,
    }


def _words(one: Instruction) -> Iterator[str]:
    """The words as a Dockerfile quotes them; a variable is not followed, but refused."""
    at = 0
    while at < len(one.text):
        match = _WORD.match(one.text, at)
        if match is None:
            raise _refused(one)
        yield "".join(_plain(part[0]) for part in _PART.finditer(match[1]))
        at = match.end()


def _plain(part: str) -> str:
    """What one quoted, escaped or plain part of a word stands for."""
    if part.startswith("'"):
        return part[1:-1]
    if part.startswith('"'):
        return re.sub(r'\\(["\\$])', r"\1", part[1:-1])
    return part.removeprefix("\\")


def _name(variable: str) -> str:
    return variable.partition("=")[0]


def _refused(one: Instruction) -> BadInput:
    return BadInput(
        f"not an instruction that says how an image is run: {one.word} {one.text}",
        where=f"Dockerfile:{one.line}",
        hint="build this image with BuildKit",
    )
