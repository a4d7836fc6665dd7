"""What came of publishing an image."""

from dataclasses import dataclass

from dlimg.publish.admit import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An image at a registry: its immutable name, and the names that now lead to it."""

    cell: str
    reference: str
    digest: str
    moved: tuple[str, ...]
    standing: Standing
