"""Where an index has the wheels of a lock: wheels come in, an address for each comes out.

A lock holds no addresses, so that it is true of every mirror. uv is asked, because it reads all
of the indexes' settings; it is told exact versions, and downloads none of the wheels.
"""

import re
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import uv

from dlimg.errors import Negative, NetworkFailure
from dlimg.host import process
from dlimg.lock.solve import MISLEADING, SECONDS
from dlimg.model import Wheel
from dlimg.pypi.mirrors import uv_environment

_NETWORK: Final = "check the network, the proxy and the index address (UV_DEFAULT_INDEX)"
_LONGEST_REASON: Final = 700
_NOT_THERE: Final = re.compile(r"No solution found|not found in the package registry")


class WheelNotFound(Negative):
    """A locked version is on no index."""


Target = tuple[str, str]
Ask = Callable[[Sequence[Wheel], Target], str]


def addresses(wheels: Sequence[Wheel], target: Target, ask: Ask) -> Mapping[str, str]:
    """The address of each wheel that an index has, by sha256; `target` is a Python with a platform.

    One that none has any more is left out: whoever needs it says `gone`, others go on.
    """
    found: dict[str, str] = {}
    for group in _rounds(wheels):
        found.update(_found(group, target, ask))
    return {wheel.sha256: found[wheel.sha256] for wheel in wheels if wheel.sha256 in found}


def gone(wheel: Wheel) -> Negative:
    """What to say of a wheel that no index has."""
    return Negative(
        f"no index has {wheel.file} with the lock's sha256",
        hint="name an index that has it (UV_DEFAULT_INDEX), or run `dlimg lock`",
    )


def asking(environment: Mapping[str, str]) -> Ask:
    """How uv is asked under this environment; what it returns is the text of a pylock.toml.

    Asking raises NotThere when the index has not all of them, NetworkFailure when it does not
    answer as it should.
    """
    settings = uv_environment(environment)
    program = uv.find_uv_bin()  # here, because `sysconfig` is not made for many threads
    clean = {name: text for name, text in settings.items() if name not in MISLEADING}

    def ask(wheels: Sequence[Wheel], target: Target) -> str:
        with tempfile.TemporaryDirectory(prefix="dlimg-addresses-") as folder:
            answer = Path(folder, "pylock.toml")
            ended = process.run(
                ask_argv(program, target, answer),
                env=clean,
                cwd=Path(folder),
                stdin="".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels),
                timeout=SECONDS,
            )
            if ended.returncode != 0:
                raise _failure(ended.tail)
            return answer.read_text(encoding="utf-8")

    return ask


def ask_argv(program: str, target: Target, answer: Path) -> list[str]:
    """The command; requirements come on stdin."""
    python, platform = target
    return [
        *(program, "pip", "compile", "-", "--quiet", "--no-deps"),
        *("--python", sys.executable, "--no-python-downloads"),
        *("--python-version", python, "--python-platform", platform),
        *("--only-binary", ":all:", "--no-header", "--no-annotate"),
        *("--format", "pylock.toml", "--output-file", str(answer)),
    ]


def _found(wheels: Sequence[Wheel], target: Target, ask: Ask) -> Mapping[str, str]:
    """Uv tells of all or of none, so halves are asked for until the lost ones are alone."""
    try:
        return _read(ask(wheels, target))
    except WheelNotFound:
        middle = len(wheels) // 2
        halves = (wheels[:middle], wheels[middle:]) if middle else ()
        return {key: url for half in halves for key, url in _found(half, target, ask).items()}


def _rounds(wheels: Sequence[Wheel]) -> Sequence[Sequence[Wheel]]:
    """The wheels in groups in which no package is twice: cells may hold several versions."""
    groups: list[dict[str, Wheel]] = []
    for wheel in wheels:
        group = next((one for one in groups if wheel.name not in one), None)
        if group is None:
            group = {}
            groups.append(group)
        group[wheel.name] = wheel
    return [list(group.values()) for group in groups]


def _read(text: str) -> Mapping[str, str]:
    """Addresses by sha256, of all wheels in a pylock.toml."""
    try:
        packages = tomllib.loads(text)["packages"]
        wheels = [wheel for package in packages for wheel in package.get("wheels", ())]
        return {str(one["hashes"]["sha256"]): str(one["url"]) for one in wheels if "url" in one}
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Negative(f"uv's answer cannot be read: {error!r}") from error


def _failure(said: str) -> Exception:
    reason = " ".join(said.split())[:_LONGEST_REASON]
    if _NOT_THERE.search(reason):
        return WheelNotFound(f"a locked package is not on the index: {reason}")
    return NetworkFailure(f"the package index cannot be used: {reason}", hint=_NETWORK)
