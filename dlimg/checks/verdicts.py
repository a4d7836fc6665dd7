"""From how a script ended to what it proves. Pure; not-run is never a pass."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, assert_never

from dlimg.model import Check, CheckStatus, Evidence, Verdict

Ending = Literal["exited", "too early", "out of time", "out of memory", "without its container"]
Outcome = Literal["passed", "failed", "not-run"]

NOT_RUN_CODE: Final = 77
NO_DEVICE: Final = "none"
GPU: Final = "gpu"
TWO_GPUS: Final = "two gpus"
# The check whose figures say which GPU it is, and under which driver.
SIGHT: Final = "nvidia_smi"
OUTPUT_LINES: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptResult:
    """How a check's script ended in the container; `limit` in the words of a person."""

    code: int
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    ending: Ending = "exited"
    limit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedGpu:
    """One GPU as the driver knows it."""

    uuid: str
    name: str
    driver: str


def verdict(check: Check, ran: ScriptResult, *, device: str) -> Verdict:
    """What the check says: exit 0 passed, 77 not run, anything else failed.

    A check that needs a GPU and ends well where none was given has proved nothing: not run.
    """
    status, reason = _judged(ran)
    if status is CheckStatus.PASSED and GPU in check.needs and device == NO_DEVICE:
        status, reason = CheckStatus.NOT_RUN, "it ended well, but no GPU was given to it"
    return Verdict(
        check=check.name,
        sha256=check.sha256,
        status=status,
        reason=reason,
        seconds=round(ran.seconds, 3),
        figures=figures(ran.stdout),
        required=check.required,
        output=_tail(f"{ran.stdout}\n{ran.stderr}"),
        needs=check.needs,
    )


def sought(check: Check, attempt: Callable[[], Verdict], *, between: Callable[[], None]) -> Verdict:
    """What the check says; one that may fail by no fault of the image has a second attempt."""
    first = attempt()
    if first.status is not CheckStatus.FAILED or not check.flaky:
        return first
    between()
    return second(first, attempt())


def told_text(cell: str, found: Verdict) -> str:
    """The line that tells of a verdict while the next check runs."""
    return f"{cell}  {found.check} {found.status} in {found.seconds:.1f} s"


def second(first: Verdict, again: Verdict) -> Verdict:
    """What counts of two attempts: the second, which tells of the first.

    One that is not run the second time has not taken the failure back.
    """
    found = replace(again, attempts=2, first_reason=first.reason)
    if again.status is CheckStatus.NOT_RUN:
        reason = f"{first.reason}; then not run: {again.reason}"
        return replace(found, status=CheckStatus.FAILED, reason=reason)
    return found


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


def possible_here(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Those that this machine could give: where there is one GPU, none that asks for two."""
    alone = len(gpus(verdicts)) == 1
    return tuple(
        verdict
        for verdict in verdicts
        if not (alone and TWO_GPUS in verdict.needs and verdict.status is CheckStatus.NOT_RUN)
    )


def outcome(verdicts: Sequence[Verdict]) -> Outcome:
    """The one word for all of them: a failure outweighs all, then a required one not run.

    Nothing required at all is not a pass either.
    """
    required = [verdict for verdict in possible_here(verdicts) if verdict.required]
    if any(verdict.status is CheckStatus.FAILED for verdict in verdicts):
        return "failed"
    if not required or any(verdict.status is CheckStatus.NOT_RUN for verdict in required):
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


def gpus(verdicts: Sequence[Verdict]) -> tuple[TestedGpu, ...]:
    """The GPUs that the check `nvidia_smi` saw; none where it was not run or did not pass."""
    found: set[TestedGpu] = set()
    for verdict in verdicts:
        seen = verdict.figures.get("gpus") if verdict.check == SIGHT else None
        if verdict.status is CheckStatus.PASSED and isinstance(seen, list):
            found |= {_gpu(one) for one in seen if isinstance(one, dict)}
    return tuple(sorted(found, key=lambda gpu: (gpu.uuid, gpu.name)))


def gpu_names(evidence: Evidence) -> tuple[str, ...]:
    """The names of the GPUs that the checks ran on, each once, such as `NVIDIA H200`."""
    return tuple(dict.fromkeys(gpu.name for gpu in gpus(evidence.verdicts) if gpu.name))


def driver(evidence: Evidence) -> str:
    """The version of the driver of those GPUs, or an empty text."""
    return next((gpu.driver for gpu in gpus(evidence.verdicts) if gpu.driver), "")


def is_gpu_tested(evidence: Evidence) -> bool:
    """Whether a GPU was given, and every required check that needs one passed, at least one.

    Where none of these is required, all of them count: what nobody asks for proves nothing.
    """
    on_gpu = [verdict for verdict in possible_here(evidence.verdicts) if GPU in verdict.needs]
    counted = [verdict for verdict in on_gpu if verdict.required] or on_gpu
    return (
        evidence.device != NO_DEVICE
        and bool(counted)
        and all(verdict.status is CheckStatus.PASSED for verdict in counted)
        and not any(verdict.status is CheckStatus.FAILED for verdict in on_gpu)
    )


def _gpu(row: Mapping[str, object]) -> TestedGpu:
    texts = {name: str(row.get(name) or "") for name in ("uuid", "name", "driver")}
    return TestedGpu(uuid=texts["uuid"], name=texts["name"], driver=texts["driver"])


def _judged(ran: ScriptResult) -> tuple[CheckStatus, str]:
    match ran.ending:
        case "out of time":
            return CheckStatus.FAILED, f"time limit of {ran.limit}"
        case "out of memory":
            return CheckStatus.FAILED, f"killed: it needs more than the memory limit of {ran.limit}"
        case "without its container":
            return CheckStatus.FAILED, "its container ended before it did"
        case "too early":
            return (
                CheckStatus.FAILED,
                "it ended with 0 before it came to its end: nothing is proved",
            )
        case "exited":
            return _judged_by_code(ran)
        case _:
            assert_never(ran.ending)


def _judged_by_code(ran: ScriptResult) -> tuple[CheckStatus, str]:
    said = _last_line(ran.stderr)
    match ran.code:
        case 0:
            return CheckStatus.PASSED, ""
        case code if code == NOT_RUN_CODE:
            return CheckStatus.NOT_RUN, said or "the check does not say why"
        case code:
            return CheckStatus.FAILED, said or f"exit code {code}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-OUTPUT_LINES:])
