"""Exit code 0 is believed of a script that came to its end, and of no other.

An image's own Python could end every check with 0 before its first line: by a broken start-up
file, by another program under its name, by a framework whose import ends the process. So the
script's last word is one that only this run knows. An image that lies on purpose could still say
it: what this guards against is accident.
"""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Final

from dlimg.checks.verdicts import ScriptResult

RUNNER: Final = Path(__file__).with_name("run_to_its_end.py").read_text(encoding="utf-8")


def new_word() -> str:
    """A word that nothing has seen before."""
    return secrets.token_hex(16)


def python_argv(python: str, script: str, word: str) -> list[str]:
    """The command that runs a script and says its last word."""
    return [python, "-c", RUNNER, word, script]


def has_ended(stdout: str, word: str) -> bool:
    """Whether the last word was said."""
    return last_line(word) in stdout.splitlines()


def judged_by_end(ran: ScriptResult, word: str) -> ScriptResult:
    """The same without the last word; one that ended with 0 and did not say it ended too early."""
    lines = ran.stdout.splitlines()
    kept = [line for line in lines if line != last_line(word)]
    is_early = len(kept) == len(lines) and ran.ending == "exited" and ran.code == 0
    return replace(ran, stdout="\n".join(kept), ending="too early" if is_early else ran.ending)


def last_line(word: str) -> str:
    """What the runner prints at the end."""
    return f"ended {word}"
