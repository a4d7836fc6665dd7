"""The kernel's locks on open files, which end with their process.

Windows has no such locks: there the commands that need them, those that build, do not run.
"""

from typing import IO, Final

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

SHARED: Final = 1
EXCLUSIVE: Final = 2
NOW: Final = 4  # raises BlockingIOError instead of waiting


def flock(file: IO[str] | IO[bytes] | int, kind: int) -> None:
    """Take a lock on a file or its descriptor."""
    if fcntl is not None:
        fcntl.flock(file, kind)
