"""Amounts as people read them: bytes, seconds, counts."""

from typing import Final


def bytes_text(size: int) -> str:
    """Return `1.23 GB` for 1,234,567,890: decimal units, as registries count."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.2f} GB"


def seconds_text(seconds: float) -> str:
    """Return `4.2 s`, or `3 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


_PLURALS: Final = {"is": "are", "was": "were", "has": "have", "needs": "need", "runs": "run"}


def counted(number: int, noun: str, verb: str = "") -> str:
    """Return `1 layer`, `2 layers`; with the verb `is` `1 layer is`, `2 layers are`."""
    is_one = number == 1
    text = f"{number} {noun}{'' if is_one else 's'}"
    return f"{text} {verb if is_one else _PLURALS[verb]}" if verb else text
