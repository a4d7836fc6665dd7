"""Plain text and JSON that are safe to show on a terminal."""

import json
import re
from collections.abc import Sequence
from typing import Final

_COLOURS: Final = r"\x1b\[[0-9;?]*[ -/]*[@-~]"
# Characters that XML 1.0 forbids even as references, or that a terminal takes for a command.
_FORBIDDEN: Final = r"[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
# What JSON may hold as it is, and a terminal takes for a command, or no terminal can show.
_COMMANDS: Final = re.compile("[\x7f-\x9f\ud800-\udfff]")


def plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a line for each row, its fields separated by tabs: for pipes."""
    return "".join("\t".join(row) + "\n" for row in (headings, *rows))


def filled_columns(
    headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return the table without the columns that are empty in all rows; the first one stays."""
    filled = [n for n in range(len(headings)) if not n or any(row[n] for row in rows)]
    return [headings[n] for n in filled], [[row[n] for n in filled] for row in rows]


def shortened(text: str, most: int) -> str:
    """Return a text of this length at most: dots stand for its middle."""
    if len(text) <= most:
        return text
    end = (most - len("...")) // 2
    return f"{text[: most - len('...') - end]}...{text[-end:]}"


def clean(text: str) -> str:
    """Return the text without colours; other control characters become U+FFFD."""
    if text.isascii() and text.isprintable():
        return text  # most of it is, and the second pattern takes 4 ms to compile
    return re.sub(_FORBIDDEN, "\ufffd", re.sub(_COLOURS, "", text))


def json_text(value: object) -> str:
    """Return the value as JSON in which no character controls a terminal."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
