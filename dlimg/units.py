"""Amounts as people read them: bytes, seconds, counts."""


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


def counted(number: int, noun: str) -> str:
    """Return `1 layer`, `2 layers`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
