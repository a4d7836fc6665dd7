"""Errors about a wheel: damaged on its way, or not fit for a layer."""

from dlimg.errors import BadInput


def damaged_wheel(file: str, reason: str) -> BadInput:
    """Return the error for a wheel that most likely was damaged on its way."""
    return BadInput(_printable(reason), where=file, hint="delete this wheel and fetch it again")


def invalid_wheel(file: str, reason: str) -> BadInput:
    """Return the error for a wheel that cannot become a layer, however often it is fetched."""
    hint = "use another version of this package, or tell its authors"
    return BadInput(_printable(reason), where=file, hint=hint)


def _printable(text: str) -> str:
    """Escape control characters, which a wheel's names may contain."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
