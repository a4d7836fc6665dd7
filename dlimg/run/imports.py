"""The modules that Python code imports, read from its text."""

import ast
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any, Final

_IMPORT: Final = re.compile(
    r"^[\s\"]*(?:import[ \t]+(?P<many>[\w., \t]+)|from\s+(?P<single>\w+))", re.MULTILINE
)
_NAME: Final = re.compile(r"\w+")
_MAGIC: Final = re.compile(r"^\s*[%!].*$", re.MULTILINE)


def imported_modules(text: str) -> Iterator[str]:
    """Yield the first name of each import of a script or a notebook, in order of the text."""
    for source in _sources(text):
        yield from _of_source(source)


def _sources(text: str) -> list[str]:
    """Return the code cells of a notebook, without magic lines, or else the text itself."""
    try:
        notebook: Any = json.loads(text)
        cells = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
        return [_MAGIC.sub("", "".join(source)) for source in cells]
    except (ValueError, KeyError, TypeError, RecursionError):
        return [text]


def _of_source(source: str) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = []
    if not nodes or source.startswith("{"):  # no Python, or a notebook of another form
        for match in _IMPORT.finditer(source):
            names = (match["many"] or match["single"]).split(",")
            yield from (parts[0] for parts in map(_NAME.findall, names) if parts)
        return
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in sorted(imports, key=lambda node: node.lineno):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif node.module and not node.level:
            yield node.module.split(".")[0]
