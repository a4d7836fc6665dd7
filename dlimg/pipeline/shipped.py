"""The matrix that comes with dlimg, for commands in a folder without one of its own."""

from pathlib import Path
from typing import Final

from dlimg import __version__
from dlimg.context import Log
from dlimg.image_files import shipped_root

MATRIX: Final = "matrix.yaml"


def matrix_file(log: Log) -> str:
    """Return the matrix of the current folder, or else dlimg's own, and log that."""
    if Path(MATRIX).exists():
        return MATRIX
    log(
        f"there is no {MATRIX} here: using the matrix and locks of dlimg {__version__} "
        "(`dlimg init` starts your own)"
    )
    return str(shipped_root() / MATRIX)
