"""The program `dlimg`: prints help, or runs a command and returns its exit code."""

import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

from dlimg.cli.commands import parser_of_help, position_of_command

INTERRUPTED: Final = 130


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are shown without a traceback."""
    if position_of_command(argv) is None:
        parser_of_help().parse_args(argv)
        parser_of_help().print_help()
        return 2
    # Imported only now, as help does not need it. Imports make many objects and no garbage, so
    # garbage collection would only add a fifth to their time.
    gc.disable()
    dispatch = import_module("dlimg.cli.dispatch")
    arguments = dispatch.parse(argv)
    gc.freeze()
    gc.enable()
    code: int = dispatch.run(arguments)
    return code


def entry() -> NoReturn:
    """Run the program. SIGTERM is handled like Ctrl-C: both clean up."""
    # A stream that the caller has closed is none; writing to it must not be an error.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - pathlib
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115 - costs 3 ms
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be no UTF-8
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # cleaned up already; ignore a second one
        sys.stderr.write("dlimg: interrupted; nothing is left running\n")
        code = INTERRUPTED
    sys.exit(code)
