"""Writes the pages of this folder, one for each finding of `dlimg lint`: `nox -s lint_pages`."""

import sys
from pathlib import Path

from dlimg.lint.pages import rule_pages


def write_pages(folder: Path) -> None:
    """Write the pages of all findings, and remove those of findings that are gone."""
    pages = rule_pages()
    for path in folder.glob("*.md"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent)
