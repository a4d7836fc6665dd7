"""Links between pages, the index of the documentation, and the list of packages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    for path, anchor in LINK.findall(CODE.sub("", page.read_text())):
        if "://" in path:
            continue
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_index_lists_every_page() -> None:
    listed = {path for path, _ in LINK.findall((DOCS / "README.md").read_text())}
    pages = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    assert pages <= listed


def test_the_architecture_lists_every_package() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "architecture.md").read_text(), re.MULTILINE)
    packages = {path.parent.name for path in (ROOT / "dlimg").glob("*/__init__.py")}
    assert set(rows) == packages
    assert len(rows) == len(packages)
