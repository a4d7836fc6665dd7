"""A file is written whole or not at all: under a name of its own beside it, then renamed."""

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, mode: int = 0o666) -> None:
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
