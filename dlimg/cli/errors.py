"""Failures, caught once and shown without a traceback."""

from argparse import Namespace
from collections.abc import Callable, Mapping

from dlimg.cli.printing import say
from dlimg.errors import DlimgError

Command = Callable[[Namespace, Mapping[str, str]], int]


def guarded(command: Command, arguments: Namespace, environment: Mapping[str, str]) -> int:
    """The command's exit code; what a user can meet is said in its own words."""
    try:
        return command(arguments, environment)
    except DlimgError as error:
        for problem in error.problems:
            say(f"dlimg: {problem}")
        return error.exit_code
    except OSError as error:
        say(f"dlimg: {error.filename or 'system'}: {error.strerror or error}")
        return 1
