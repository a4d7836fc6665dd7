"""From how a script ended to what it proves. Pure; not-run is never a pass."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, assert_never

from dlimg.model import Check, Evidence, Status, Verdict

Ending = Literal["exited", "out of time", "out of memory"]
Outcome = Literal["passed", "failed", "not-run"]

NOT_RUN_CODE: Final = 77
NO_DEVICE: Final = "none"
GPU: Final = "gpu"
OUTPUT_LINES: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a check's script ended in the container; `limit` in the words of a person."""

    code: int
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    ending: Ending = "exited"
    limit: str = ""


def verdict(check: Check, ran: Ran, *, device: str) -> Verdict:
    """What the check says: exit 0 passed, 77 not run, anything else failed.

    A check that needs a GPU and ends well where none was given has proved nothing: not run.
    """
    status, reason = _judged(ran)
    if status is Status.PASSED and GPU in check.needs and device == NO_DEVICE:
        status, reason = Status.NOT_RUN, "it ended well, but no GPU was given to it"
    return Verdict(
        check=check.name,
        sha256=check.sha256,
        status=status,
        reason=reason,
        seconds=round(ran.seconds, 3),
        figures=figures(ran.stdout),
        output=_tail(f"{ran.stdout}\n{ran.stderr}"),
        needs=check.needs,
    )


def figures(stdout: str) -> Mapping[str, object]:
    """The last line of the output that is a JSON object; empty where there is none."""
    for line in reversed(stdout.splitlines()):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def outcome(verdicts: Sequence[Verdict]) -> Outcome:
    """The one word for all of them: a failure outweighs all, then a required one not run.

    Nothing required at all is not a pass either.
    """
    required = [verdict for verdict in verdicts if verdict.required]
    if any(verdict.status is Status.FAILED for verdict in verdicts):
        return "failed"
    if not required or any(verdict.status is Status.NOT_RUN for verdict in required):
        return "not-run"
    return "passed"


def exit_code(found: Outcome) -> int:
    """0 passed, 1 failed, 3 a required check was not run."""
    match found:
        case "passed":
            return 0
        case "failed":
            return 1
        case "not-run":
            return 3
        case _:
            assert_never(found)


def is_gpu_tested(evidence: Evidence) -> bool:
    """Whether a GPU was given, at least one check needed it, and all those passed."""
    on_gpu = [verdict for verdict in evidence.verdicts if GPU in verdict.needs]
    return (
        evidence.device != NO_DEVICE
        and bool(on_gpu)
        and all(verdict.status is Status.PASSED for verdict in on_gpu)
    )


def _judged(ran: Ran) -> tuple[Status, str]:
    match ran.ending:
        case "out of time":
            return Status.FAILED, f"time limit of {ran.limit}"
        case "out of memory":
            return Status.FAILED, f"killed: it needs more than the memory limit of {ran.limit}"
        case "exited":
            return _judged_by_code(ran)
        case _:
            assert_never(ran.ending)


def _judged_by_code(ran: Ran) -> tuple[Status, str]:
    said = _last_line(ran.stderr)
    match ran.code:
        case 0:
            return Status.PASSED, ""
        case code if code == NOT_RUN_CODE:
            return Status.NOT_RUN, said or "the check does not say why"
        case code:
            return Status.FAILED, said or f"exit code {code}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-OUTPUT_LINES:])
