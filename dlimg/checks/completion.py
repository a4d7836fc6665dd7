"""Exit code 0 counts only for a script that ran to its end.

An image's own Python could end every check with 0 before its first line: a broken start-up file,
another program under its name, or a framework whose import ends the process. So a runner prints a
token of this run after the script. This guards against accidents, not against an image that
forges the token.
"""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Final

from dlimg.checks.verdicts import ScriptResult

RUNNER: Final = Path(__file__).with_name("run_to_completion.py").read_text(encoding="utf-8")


def new_token() -> str:
    """Return a random token for one run of a script."""
    return secrets.token_hex(16)


def python_argv(python: str, script: str, token: str) -> list[str]:
    """Return the command that runs a script, and prints the token when it has ended."""
    return [python, "-c", RUNNER, token, script]


def is_complete(stdout: str, token: str) -> bool:
    """Return whether the token was printed."""
    return completion_line(token) in stdout.splitlines()


def check_completion(result: ScriptResult, token: str) -> ScriptResult:
    """Return the result without the token's line; without that line exit code 0 is "too early"."""
    lines = result.stdout.splitlines()
    output = [line for line in lines if line != completion_line(token)]
    is_early = len(output) == len(lines) and result.ending == "exited" and result.code == 0
    ending = "too early" if is_early else result.ending
    return replace(result, stdout="\n".join(output), ending=ending)


def completion_line(token: str) -> str:
    """Return the line that the runner prints at the end."""
    return f"ended {token}"
