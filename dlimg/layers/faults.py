"""What is wrong with a wheel, as the one failure that every reader of wheels raises."""

from dlimg.errors import BadInput


def damaged(file: str, what: str) -> BadInput:
    """A wheel that is not what its author made, most likely."""
    return BadInput(what, where=file, hint="delete this wheel and fetch it again")


def unfit(file: str, what: str) -> BadInput:
    """A wheel that must not, or cannot, become a layer, however often it is fetched."""
    return BadInput(
        what, where=file, hint="use another version of this package, or tell its authors"
    )
