"""A matrix for tests of its edits: three families, stacks, shared excludes, comments."""

from pathlib import Path
from typing import Final

MATRIX: Final = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
