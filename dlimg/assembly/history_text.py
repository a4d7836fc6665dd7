"""What each layer of an image is, in the words that its history has."""

from collections.abc import Sequence
from typing import Final

from dlimg.model import Cell, Wheel

OWN_WORDS: Final = "own: RECORDs, commands, links, /etc/dlimg"
BYTECODE_WORDS: Final = "byte code of the other wheels"
# How all of them begin; no step of a Dockerfile does.
OURS: Final = ("base: ", "byte code", "own: ", "small wheels: ", "system: ", "wheel: ")


def base_words(cell: Cell) -> str:
    return f"base: {cell.os.image}"


def system_words(cell: Cell) -> str:
    return f"system: Python {cell.python}, an empty environment, the user ({cell.flavour})"


def wheel_words(wheel: Wheel) -> str:
    return f"wheel: {wheel.name} {wheel.version}"


def small_words(wheels: Sequence[Wheel]) -> str:
    names = sorted(f"{wheel.name} {wheel.version}" for wheel in wheels)
    return f"small wheels: {', '.join(names)}"


def bytecode_words(wheel: Wheel) -> str:
    return f"byte code: {wheel.name} {wheel.version}"
