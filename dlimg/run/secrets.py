"""Secrets of runs: read by name, sent to a container, masked in output."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from dlimg.engine.client import Engine
from dlimg.errors import BadInput, Negative
from dlimg.host.process import run
from dlimg.run.model import RunRecord, RunState
from dlimg.run.names import VARIABLE
from dlimg.run.start_script import MEMORY, RECEIVE

MASK: Final = b"***"
_SECONDS: Final = 60
_PRINT: Final = 'for name; do eval "value=\\${$name-}"; printf "%s\\0" "$value"; done'
# A shorter value is part of too many texts: its mask would reveal more than it hides.
_SHORTEST: Final = 4
_NAMED: Final = re.compile(
    r"(?i)(?:^|[-_.])(?:api[-_]?key|key|token|password|passwd|secret|credentials?)$"
)
_VALUE: Final = re.compile(
    r"(?:hf_[A-Za-z0-9]{20,}|sk-[\w-]{20,}|gh[opsu]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|glpat-[\w-]{15,}|AKIA[A-Z0-9]{16}|xox[abp]-[\w-]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+)"
)


def secret_values(names: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the values of secrets. Raises BadInput for one that is not set here."""
    values = {}
    for name in names:
        if not re.fullmatch(VARIABLE, name):
            hint = "--secret takes a name; the value comes from this shell's variable"
            raise BadInput("a secret is given by its name, never by its value", hint=hint)
        if not environment.get(name):
            hint = f"`read -rs {name} && export {name}` sets it without showing it"
            raise BadInput(f"the secret {name} is not set here", where="--secret", hint=hint)
        values[name] = environment[name]
    return values


def deliver(values: Mapping[str, str], container: str, engine: Engine) -> None:
    """Send secrets over standard input to a file in the container's memory."""
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    argv = engine.docker_argv("exec", "--interactive", container, "/bin/sh", "-c", RECEIVE)
    completed = run(argv, env=engine.environment, stdin=text, timeout=_SECONDS)
    if completed.returncode != 0:
        raise Negative(f"the secrets could not be sent into the container: {completed.tail}")


def values_in(container: str, names: Sequence[str], engine: Engine) -> dict[str, str]:
    """Return the secrets that a running container has in its memory; empty if it has ended."""
    script = f". {MEMORY}/secrets && {_PRINT}"
    argv = engine.docker_argv("exec", container, "/bin/sh", "-c", script, "sh", *names)
    completed = run(argv, env=engine.environment, timeout=_SECONDS)
    values = completed.stdout.split("\0")
    if completed.returncode != 0 or len(values) <= len(names):
        return {}
    return dict(zip(names, values, strict=False))


def values_to_mask(record: RunRecord, state: RunState, engine: Engine) -> list[str]:
    """Return the values of a run's secrets, from its memory or from this shell.

    Raises Negative for an unknown value, which could not be masked.
    """
    if not record.secrets:
        return []
    values = values_in(record.container, record.secrets, engine) if state == "running" else {}
    environment = engine.context.environment
    values = {name: values.get(name) or environment.get(name, "") for name in record.secrets}
    missing = [name for name, value in values.items() if not value]
    if missing:
        names = ", ".join(missing)
        raise Negative(
            f"the output of {record.run} may hold {names}, whose value is not known any more",
            hint="set it in this shell, so that it can be masked",
        )
    return list(values.values())


class Masker:
    """Replaces secrets in a stream of bytes, also one that is split between two pieces."""

    def __init__(self, values: Iterable[str]) -> None:
        parts = {value for value in values if len(value) >= _SHORTEST}
        # Programs print a value of several lines line by line.
        parts |= {line for value in parts for line in value.splitlines() if len(line) >= _SHORTEST}
        self._secrets = sorted((value.encode() for value in parts), key=len, reverse=True)
        self._held = b""

    def __call__(self, data: bytes) -> bytes:
        """Return the bytes to show now; the start of a secret is held until the next piece."""
        if not self._secrets:
            return data
        text = self._held + data
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        shown = len(text) - max(_overlap(text, secret) for secret in self._secrets)
        self._held = text[shown:]
        return text[:shown]

    def end(self) -> bytes:
        """Return the bytes that were held, at the end of the stream."""
        unshown, self._held = self._held, b""
        return unshown


def _overlap(text: bytes, secret: bytes) -> int:
    """Return the length of the longest end of a text with which the secret begins."""
    longest = min(len(text), len(secret) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(secret[:size])), 0)


def visible_secrets(
    command: Sequence[str], variables: Mapping[str, str], environment: Mapping[str, str]
) -> Iterator[str]:
    """Yield a warning for each argument and variable that looks like a secret."""
    hint = "others read it with `ps` and `docker inspect`; `--secret NAME` hides it"
    hidden = {
        value for name, value in environment.items() if _NAMED.search(name) and len(value) >= 8
    }
    for name, value in variables.items():
        if value and (_NAMED.search(name) or _VALUE.search(value)):
            yield f"the variable {name} looks like a secret: {hint}"
    for number, (argument, following) in enumerate(zip_longest(command, command[1:], fillvalue="")):
        option, equals, value = argument.partition("=")
        if not equals and not following.startswith("-"):
            value = following
        if value and option.startswith("-") and _NAMED.search(option):
            yield f"the value of {option} in the command looks like a secret: {hint}"
        elif _VALUE.search(argument) or any(value in argument for value in hidden):
            yield f"word {number + 1} of the command looks like a secret: {hint}"
