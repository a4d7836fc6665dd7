"""A failed build as one problem: what is behind the log, and what to do next. Pure."""

import re
from typing import Final

from dlimg.builders.progress import short_step_name
from dlimg.errors import Problem
from dlimg.model import BuildFailure

# What `dlimg.builders.image_packages` says of an image whose packages are not those of its key.
MOVED: Final = "it came out with other packages than its content key names"
MOVED_HINT: Final = "build it again: the distribution has moved, and it gets another name"

_OUT_OF_REACH: Final = "an index, a mirror or a registry cannot be reached from the build"
_PYTHON_STAGE: Final = "[python "
# The words of pip, uv, apt, tar and BuildKit themselves, as seen in their logs.
_CAUSES: Final[tuple[tuple[str, str, str], ...]] = (
    (re.escape(MOVED), MOVED, MOVED_HINT),
    (
        r"no space left on device|ENOSPC|disk quota exceeded",
        "no space left for the build",
        "free some with `dlimg prune` in the engine, with `dlimg layers prune` beside it",
    ),
    (
        r"hash mismatch|HashMismatch|do not match the hashes|hashes? (?:are|is) required",
        "a wheel's sha256 does not match the lock's sha256",
        "the index serves another file than was locked: run `dlimg lock` and review the change",
    ),
    (
        (
            r"No solution found|No matching distribution|not found in the package registry"
            r"|does not exist in the (?:index|registry)|404 Not Found"
        ),
        "a locked package is not on the index",
        "name an index or a mirror that has it (UV_DEFAULT_INDEX), or run `dlimg lock`",
    ),
    (
        (
            r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer|unknown authority"
            r"|certificate verify failed"
        ),
        "the build does not trust the certificate of an index or a mirror",
        "name the file with your authorities in SSL_CERT_FILE",
    ),
    (
        (
            r"network is unreachable|name resolution|could not resolve|no such host|dns error"
            r"|connection (?:refused|reset|timed out)|error sending request|tcp connect error"
            r"|Failed to fetch|Unable to fetch|i/o timeout|operation timed out"
        ),
        _OUT_OF_REACH,
        "check the network and the proxy, or name a mirror (UV_DEFAULT_INDEX, DLIMG_APT_CONF)",
    ),
)


def explain_failure(failure: BuildFailure) -> Problem:
    """What went wrong in one line, with the step, and a hint that fits the cause."""
    text = "\n".join((failure.step, *failure.log))
    message, hint = _cause(text)
    step = f" at {short_step_name(failure.step)}" if failure.step else ""
    if message == _OUT_OF_REACH and _PYTHON_STAGE in failure.step:
        hint = "name a mirror of uv's Pythons in UV_PYTHON_INSTALL_MIRROR"
    return Problem(message=f"{message}{step}", where=failure.planned.image.cell.id, hint=hint)


def _cause(text: str) -> tuple[str, str]:
    for pattern, message, hint in _CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            return message, hint
    return "the build failed", "read the end of the step's log"


def is_python_unreachable(failure: BuildFailure) -> bool:
    """Whether the build only lacked uv's download of a Python: nothing is known about the cell."""
    cause, _ = _cause("\n".join(failure.log))
    return _PYTHON_STAGE in failure.step and cause == _OUT_OF_REACH
