"""Where an index has the wheels of a lock: wheels come in, an address for each comes out.

A lock holds no addresses, so that it is true of every mirror. uv is asked, because it reads all
of the indexes' settings; it is told exact versions, and downloads none of the wheels.
"""

import re
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import uv

from dlimg.engine import process
from dlimg.engine.mirrors import uv_environment
from dlimg.errors import Negative, NetworkFailure
from dlimg.lock.solve import MISLEADING, SECONDS
from dlimg.model import Wheel

_NETWORK: Final = "check the network, the proxy and the index address (UV_DEFAULT_INDEX)"
_LONGEST_REASON: Final = 700
_NOT_THERE: Final = re.compile(r"No solution found|not found in the package registry")

Target = tuple[str, str]
Ask = Callable[[Sequence[Wheel], Target], str]


def addresses(wheels: Sequence[Wheel], target: Target, ask: Ask) -> Mapping[str, str]:
    """The address of each wheel, by sha256; `target` is a Python with a platform.

    Raises Negative when the index has no such wheel any more.
    """
    if not wheels:
        return {}
    try:
        found = dict(_found(tomllib.loads(ask(wheels, target))))
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise Negative(f"uv's answer cannot be read: {error!r}") from error
    lost = [wheel.file for wheel in wheels if wheel.sha256 not in found]
    if lost:
        raise Negative(
            f"no index has {', '.join(lost)} with the lock's sha256",
            hint="name an index that has it (UV_DEFAULT_INDEX), or run `dlimg lock`",
        )
    return {wheel.sha256: found[wheel.sha256] for wheel in wheels}


def asking(environment: Mapping[str, str]) -> Ask:
    """How uv is asked under this environment; what it returns is the text of a pylock.toml.

    Asking raises NetworkFailure when the index does not answer as it should.
    """
    settings = uv_environment(environment)
    clean = {name: text for name, text in settings.items() if name not in MISLEADING}

    def ask(wheels: Sequence[Wheel], target: Target) -> str:
        with tempfile.TemporaryDirectory(prefix="dlimg-addresses-") as folder:
            answer = Path(folder, "pylock.toml")
            ended = process.run(
                ask_argv(target, answer),
                env=clean,
                cwd=Path(folder),
                stdin="".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels),
                timeout=SECONDS,
            )
            if ended.returncode != 0:
                raise _failure(ended.tail)
            return answer.read_text(encoding="utf-8")

    return ask


def ask_argv(target: Target, answer: Path) -> list[str]:
    """The command; requirements come on stdin."""
    python, platform = target
    return [
        *(uv.find_uv_bin(), "pip", "compile", "-", "--quiet", "--no-deps"),
        *("--python", sys.executable, "--no-python-downloads"),
        *("--python-version", python, "--python-platform", platform),
        *("--only-binary", ":all:", "--no-header", "--no-annotate"),
        *("--format", "pylock.toml", "--output-file", str(answer)),
    ]


def _found(answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for package in answer["packages"]:
        for wheel in package.get("wheels", ()):
            if "url" in wheel:
                yield str(wheel["hashes"]["sha256"]), str(wheel["url"])


def _failure(said: str) -> Exception:
    reason = " ".join(said.split())[:_LONGEST_REASON]
    if _NOT_THERE.search(reason):
        return Negative(
            f"a locked package is not on the index: {reason}",
            hint="name an index that has it (UV_DEFAULT_INDEX), or run `dlimg lock`",
        )
    return NetworkFailure(f"the package index cannot be used: {reason}", hint=_NETWORK)
