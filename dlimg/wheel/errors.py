"""What is wrong with a wheel, as the one failure that every reader of wheels raises."""

from dlimg.errors import BadInput


def damaged(file: str, what: str) -> BadInput:
    """A wheel that is not what its author made, most likely."""
    return BadInput(_shown(what), where=file, hint="delete this wheel and fetch it again")


def unfit(file: str, what: str) -> BadInput:
    """A wheel that must not, or cannot, become a layer, however often it is fetched."""
    hint = "use another version of this package, or tell its authors"
    return BadInput(_shown(what), where=file, hint=hint)


def _shown(text: str) -> str:
    """On one line: what a wheel says of itself may hold anything."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
