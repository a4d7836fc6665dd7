"""Failures and interrupts, caught once."""

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Final

from dlimg.errors import DlimgError

INTERRUPTED: Final = 130

Command = Callable[[Namespace, Mapping[str, str]], int]


def guarded(command: Command, arguments: Namespace, environment: Mapping[str, str]) -> int:
    """The command's exit code; what a user can meet is shown without a traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = command(arguments, environment)
        sys.stdout.flush()
    except DlimgError as error:
        sys.stdout.flush()
        for problem in error.problems:
            sys.stderr.write(f"dlimg: {problem}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("dlimg: interrupted; nothing is left running\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`dlimg list | head`): end quietly, also when Python flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        sys.stderr.write(f"dlimg: {error.filename or 'system'}: {error.strerror or error}\n")
        return 1
    return code


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """An end asked for by SIGTERM takes the way of Ctrl-C, so that everything is cleaned up."""
    raise KeyboardInterrupt
