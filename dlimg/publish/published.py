"""What came of publishing an image."""

from dataclasses import dataclass

from dlimg.publish.admit import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An image at a registry: its immutable name, and the names that now lead to it.

    `is_other` when that name was another image's than the one built here; it was tested here.
    """

    cell: str
    reference: str
    digest: str
    moved: tuple[str, ...]
    standing: Standing
    is_other: bool = False
