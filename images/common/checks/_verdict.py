"""A check's result: figures on stdout, the reason on stderr, the exit code."""

import json
import sys
from typing import NoReturn

NOT_RUN = 77


def not_run(reason: str) -> NoReturn:
    """End as not run: never a pass, and the last line of stderr says why."""
    print(reason, file=sys.stderr)
    raise SystemExit(NOT_RUN)


def fail(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    raise SystemExit(1)


def demand(condition: object, reason: str) -> None:
    """Fail unless `kept` is true; unlike `assert`, also under PYTHONOPTIMIZE."""
    if not condition:
        fail(reason)


def show(**figures: object) -> None:
    """Print the figures; call it before `demand`, so that a failure shows them too."""
    print(json.dumps(figures), flush=True)
