"""Runs a check's script as Python itself would, and reports that it ran to its end.

The text of this file is given to an image's Python: `python -c TEXT TOKEN SCRIPT`. It imports
nothing of dlimg.
"""

import os
import runpy
import sys
from contextlib import suppress
from types import TracebackType


def main() -> None:
    """Run the script, and print `ended TOKEN` if it came to its end or exited with 0."""
    token, script = sys.argv[1:]
    process, out = os.getpid(), os.dup(1)  # the script may close its own
    sys.argv[:] = [script]
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = script.rpartition("/")[0]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
        if is_in_import(end.__traceback__, script):
            print("an import ended the script, with 0", file=sys.stderr)
            raise SystemExit(1) from None
    except Exception as error:  # noqa: BLE001 -- as Python itself would, without our own part
        error.__traceback__ = from_script(error.__traceback__, script)
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(1) from None
    with suppress(AttributeError, OSError, ValueError):  # closed, or gone
        sys.stdout.flush()
    if os.getpid() == process:  # not a child of the script
        os.write(out, f"\nended {token}\n".encode())


def from_script(trace: TracebackType | None, script: str) -> TracebackType | None:
    """Return the traceback from the script's first frame on, or None."""
    while trace and trace.tb_frame.f_code.co_filename != script:
        trace = trace.tb_next
    return trace


def is_in_import(trace: TracebackType | None, script: str) -> bool:
    """Return whether the error came from an imported module, judged by the code in its frames."""
    while trace:
        code = trace.tb_frame.f_code
        if code.co_name == "<module>" and code.co_filename != script:
            return True
        trace = trace.tb_next
    return False


if __name__ == "__main__":
    main()
