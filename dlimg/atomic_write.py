"""A file is written whole or not at all: under a name of its own beside it, then renamed.

And read without waiting for anybody, whatever lies in its place.
"""

import os
from pathlib import Path


def atomic_write(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Put this text in the place of whatever is there; folders that are missing are made.

    Whatever interrupts, and whoever else writes the same file, one whole text is there. The mode
    holds from the file's first moment, less the process's umask. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}.new")
    try:
        fresh.touch(mode=mode, exist_ok=False)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def read_now(path: Path) -> str:
    """The file's text; of a pipe what is in it already, since nobody may ever write into it.

    Raises OSError, and UnicodeDecodeError for what is no UTF-8.
    """
    with open(path, encoding="utf-8", opener=_at_once) as file:
        return file.read()


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
