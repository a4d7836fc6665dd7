"""What stands on the command line and must not: options that say nothing, or have no room."""

from argparse import Namespace
from collections.abc import Iterable

from dlimg.errors import BadInput


def refuse_empty(arguments: Namespace, names: Iterable[str]) -> None:
    """Raises BadInput for an option that says nothing, as of a variable that was never set."""
    empty = [f"--{name}" for name in names if getattr(arguments, name) == ""]
    if empty:
        raise BadInput(f"{', '.join(empty)}: nothing is said", hint="give a value, or leave it out")


def refuse_options(arguments: Namespace, names: Iterable[str], why: str) -> None:
    """Raises BadInput for an option that what was named leaves no room for."""
    given = [f"--{name}" for name in names if getattr(arguments, name)]
    if given:
        raise BadInput(f"{', '.join(given)}: {why}", hint="leave them out")
