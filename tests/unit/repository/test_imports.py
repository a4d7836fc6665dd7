"""Rules on the source of dlimg that no linter has: class names and imports inside functions."""

import ast
import functools
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import dlimg

PACKAGE = Path(dlimg.__file__).parent

# Modules that functions may import, because they are slow to import and most commands never
# call the function.
IN_FUNCTIONS = {
    "dlimg.report.table": "rich, 40 ms, where a table is shown on a terminal",
}


@functools.cache
def trees() -> Mapping[str, ast.Module]:
    """The syntax trees of all modules by path."""
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
    }


@functools.cache
def imports_in_functions() -> frozenset[tuple[str, str]]:
    """The modules that are imported in functions, each with the path of the importing module."""
    return frozenset(
        (path, module)
        for path, tree in trees().items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        for module in imported(node)
    )


def imported(node: ast.AST) -> list[str]:
    match node:
        case ast.ImportFrom(module=module):
            return [module or "."]
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case _:
            return []


def test_no_two_classes_have_the_same_name() -> None:
    paths: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                paths[node.name].append(path)
    assert {name: path for name, path in paths.items() if len(path) > 1} == {}


def test_functions_import_only_what_is_on_the_list() -> None:
    unlisted = {entry for entry in imports_in_functions() if entry[1] not in IN_FUNCTIONS}
    assert unlisted == set()


def test_the_list_has_no_entry_that_nothing_uses() -> None:
    assert {module for _, module in imports_in_functions()} >= set(IN_FUNCTIONS)
