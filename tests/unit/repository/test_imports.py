"""Rules on the source of dlimg that no linter has: class names and imports inside functions."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import dlimg

PACKAGE = Path(dlimg.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# Modules that functions may import, because they are slow to import and most commands never
# call the function.
IN_FUNCTIONS = {
    "dlimg.facts.parse": "PyYAML, 20 ms, where no cache has the rows of facts",
    "packaging.utils": "10 ms, for file names of wheels with unusual characters",
    "packaging.version": "10 ms, for file names of wheels with unusual characters",
    "rich.console": "30 ms, where a table or progress is shown on a terminal",
    "rich.live": "30 ms, where progress is shown on a terminal",
    "rich.padding": "30 ms, where a table is shown on a terminal",
    "rich.table": "30 ms, where a table is shown on a terminal",
    "rich.text": "30 ms, where a table or progress is shown on a terminal",
}


def imports_in_functions(tree: ast.Module) -> Iterator[str]:
    """Yield the modules that are imported in functions."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom):
                    yield node.module or "."
                elif isinstance(node, ast.Import):
                    yield from (alias.name for alias in node.names)


def test_no_two_classes_have_the_same_name() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in modules.items() if len(paths) > 1} == {}


def test_functions_import_only_what_is_on_the_list() -> None:
    imported = {
        f"{path.relative_to(PACKAGE)}: {module}"
        for path in MODULES
        for module in imports_in_functions(ast.parse(path.read_text()))
        if module not in IN_FUNCTIONS
    }
    assert imported == set()


@pytest.mark.parametrize("module", IN_FUNCTIONS)
def test_the_list_has_no_entry_that_nothing_uses(module: str) -> None:
    assert any(module in imports_in_functions(ast.parse(path.read_text())) for path in MODULES)
