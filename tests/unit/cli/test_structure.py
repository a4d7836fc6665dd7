"""Rules for the modules of commands that no linter has."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dlimg
from dlimg.cli.commands import COMMANDS

PACKAGE = Path(dlimg.__file__).parent
MODULES = {command: f"dlimg.cli.{command.replace('-', '_')}" for command in COMMANDS}


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, and the names that it imports from modules."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES.values())
def test_a_command_imports_no_other_command(module: str) -> None:
    path = PACKAGE.parent / f"{module.replace('.', '/')}.py"
    others = set(MODULES.values()) - {module}
    assert others & set(imported_modules(path)) == set()


def test_only_the_command_line_knows_argparse() -> None:
    importers = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if "argparse" in set(imported_modules(path))
    }
    assert importers == {"cli"}


@pytest.mark.parametrize("module", MODULES.values())
def test_a_command_runs_on_typed_options(module: str) -> None:
    """Only `options_of` and its helpers may see the parsed arguments."""
    path = PACKAGE.parent / f"{module.replace('.', '/')}.py"
    functions = {
        node.name: node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    options, context = functions["run"].args.args
    assert options.annotation is not None
    assert ast.unparse(options.annotation).endswith("Options")
    assert context.annotation is not None
    assert ast.unparse(context.annotation) == "Context"
