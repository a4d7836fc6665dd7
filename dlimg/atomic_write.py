"""Files written completely or not at all, and read without waiting."""

import os
from pathlib import Path


def atomic_write(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Replace the file with this text; missing folders are created.

    The text goes to a temporary file beside it, which is then renamed: an interruption or a second
    writer leaves one complete text. The mode, less the umask, holds from the start. Raises OSError.
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
    """Return the file's text; of a pipe only what is already in it.

    Raises OSError, and UnicodeDecodeError for other than UTF-8.
    """
    with open(path, encoding="utf-8", opener=_at_once) as file:
        return file.read()


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has no such flag
