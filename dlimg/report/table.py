"""Figures and rows as plain text."""

import json
import re
from collections.abc import Sequence
from typing import Final

_COLOURS: Final = r"\x1b\[[0-9;?]*[ -/]*[@-~]"
# What XML 1.0 forbids even as a character reference, and what a terminal takes for a command.
_FORBIDDEN: Final = r"[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
# What JSON may hold as it is, and a terminal takes for a command all the same.
_COMMANDS: Final = re.compile("[\x7f-\x9f]")


def plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A line for each row, its fields separated by tabs: for pipes."""
    return "".join("\t".join(row) + "\n" for row in (headings, *rows))


def bytes_text(size: int) -> str:
    """`1.2 GB` for 1,234,567,890: decimal units, as registries count."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.2f} GB"


def seconds_text(seconds: float) -> str:
    """`4.2 s`, or `3 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def counted(number: int, word: str) -> str:
    """`1 layer`, `2 layers`."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def clean(text: str) -> str:
    """What a program printed, without colours; control characters are U+FFFD."""
    if text.isascii() and text.isprintable():
        return text  # most of it is, and the second pattern takes 4 ms to compile
    return re.sub(_FORBIDDEN, "\ufffd", re.sub(_COLOURS, "", text))


def json_text(value: object) -> str:
    """The value as JSON for people, too: no character in it is a command to a terminal."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
