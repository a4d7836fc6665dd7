"""A failed build as one problem: its cause, found in the log, and what to do next."""

import re
from typing import Final

from dlimg.builders.progress import short_step_name
from dlimg.errors import Problem
from dlimg.model import BuildFailure

# The error of `dlimg.builders.image_packages`.
PACKAGES_DIFFER: Final = "it came out with other packages than its content key says"
PACKAGES_DIFFER_HINT: Final = "build it again: the distribution was updated, so the name changes"

_UNREACHABLE: Final = "an index, a mirror or a registry cannot be reached from the build"
_PYTHON_STAGE: Final = "[python "
# Messages of pip, uv, apt, tar and BuildKit, as seen in their logs.
_CAUSES: Final[tuple[tuple[str, str, str], ...]] = (
    (re.escape(PACKAGES_DIFFER), PACKAGES_DIFFER, PACKAGES_DIFFER_HINT),
    (
        r"no space left on device|ENOSPC|disk quota exceeded",
        "no space left for the build",
        "free some with `dlimg prune` in the engine, with `dlimg store prune` beside it",
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
        _UNREACHABLE,
        "check the network and the proxy, or name a mirror (UV_DEFAULT_INDEX, DLIMG_APT_CONF)",
    ),
)


def explain_failure(failure: BuildFailure) -> Problem:
    """Return the cause and the failed step in one line, with a hint for this cause."""
    text = "\n".join((failure.step, *failure.log))
    message, hint = _cause(text)
    step = f" at {short_step_name(failure.step)}" if failure.step else ""
    if message == _UNREACHABLE and _PYTHON_STAGE in failure.step:
        hint = "name a mirror of uv's Pythons in UV_PYTHON_INSTALL_MIRROR"
    return Problem(message=f"{message}{step}", where=failure.planned.image.cell.id, hint=hint)


def _cause(text: str) -> tuple[str, str]:
    for pattern, message, hint in _CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            return message, hint
    return "the build failed", "read the end of the step's log"


def is_python_unreachable(failure: BuildFailure) -> bool:
    """Return whether uv's download of a Python failed, which is no fault of the cell."""
    cause, _ = _cause("\n".join(failure.log))
    return _PYTHON_STAGE in failure.step and cause == _UNREACHABLE
