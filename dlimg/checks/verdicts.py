"""Verdicts on an image, from the results of scripts, and their common outcome. Pure."""

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
# The check whose figures identify the GPU and its driver.
GPU_CHECK: Final = "nvidia_smi"
OUTPUT_LINES: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptResult:
    """The end of a check's script; `limit` is the time or memory limit as a text for messages."""

    code: int
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    ending: Ending = "exited"
    limit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedGpu:
    """A GPU that checks ran on, as the driver reports it."""

    uuid: str
    name: str
    driver: str


def verdict_of(check: Check, result: ScriptResult, *, device: str) -> Verdict:
    """Return the verdict: exit 0 is passed, 77 not run, anything else failed.

    A check that needs a GPU and passes without one has proved nothing: it was not run.
    """
    status, reason = _judge(result)
    if status is CheckStatus.PASSED and GPU in check.needs and device == NO_DEVICE:
        status, reason = CheckStatus.NOT_RUN, "it passed, but was given no GPU"
    return Verdict(
        check=check.name,
        sha256=check.sha256,
        status=status,
        reason=reason,
        seconds=round(result.seconds, 3),
        figures=parse_figures(result.stdout),
        required=check.required,
        output=_tail(f"{result.stdout}\n{result.stderr}"),
        needs=check.needs,
    )


def run_with_retry(
    check: Check, attempt: Callable[[], Verdict], *, between: Callable[[], None]
) -> Verdict:
    """Return the verdict of an attempt; a flaky check that fails gets a second one.

    `between` is called before the second.
    """
    first = attempt()
    if first.status is not CheckStatus.FAILED or not check.flaky:
        return first
    between()
    return merge_attempts(first, attempt())


def verdict_line(cell: str, verdict: Verdict) -> str:
    """Return the log line for a verdict."""
    return f"{cell}  {verdict.check} {verdict.status} in {verdict.seconds:.1f} s"


def merge_attempts(first: Verdict, second: Verdict) -> Verdict:
    """Return the second verdict with the reason of the first.

    A second attempt that was not run leaves the check failed.
    """
    merged = replace(second, attempts=2, first_reason=first.reason)
    if second.status is CheckStatus.NOT_RUN:
        reason = f"{first.reason}; then not run: {second.reason}"
        return replace(merged, status=CheckStatus.FAILED, reason=reason)
    return merged


def parse_figures(stdout: str) -> Mapping[str, object]:
    """Return the last line of the output that is a JSON object, or an empty one."""
    for line in reversed(stdout.splitlines()):
        if line.startswith("{"):
            try:
                figures = json.loads(line)
            except (ValueError, RecursionError):
                return {}
            return figures if isinstance(figures, dict) else {}
    return {}


def possible_verdicts(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the verdicts that this machine could give: with one GPU, none that needs two."""
    has_one_gpu = len(gpus_of_verdicts(verdicts)) == 1
    return tuple(
        verdict
        for verdict in verdicts
        if not (has_one_gpu and TWO_GPUS in verdict.needs and verdict.status is CheckStatus.NOT_RUN)
    )


def proof_line(records: Sequence[Evidence]) -> str:
    """Return one line about the newest evidence of each device; empty without evidence."""
    newest = {evidence.device: evidence for evidence in records}
    texts = []
    for device, evidence in newest.items():
        verdicts = evidence.verdicts
        passed = sum(verdict.status is CheckStatus.PASSED for verdict in verdicts)
        where = "without a GPU" if device == NO_DEVICE else f"on {device}"
        result = outcome_of(verdicts)
        texts.append(f"{result}: {passed} of {len(verdicts)} passed {where}, {evidence.day}")
    return "; ".join(texts)


def outcome_of(verdicts: Sequence[Verdict]) -> Outcome:
    """Return the outcome of all verdicts: a failure first, then a required check not run.

    Without any required check the outcome is not a pass either.
    """
    required = [verdict for verdict in possible_verdicts(verdicts) if verdict.required]
    if any(verdict.status is CheckStatus.FAILED for verdict in verdicts):
        return "failed"
    if not required or any(verdict.status is CheckStatus.NOT_RUN for verdict in required):
        return "not-run"
    return "passed"


def exit_code_of(result: Outcome) -> int:
    """Return 0 for passed, 1 for failed, 3 when a required check was not run."""
    match result:
        case "passed":
            return 0
        case "failed":
            return 1
        case "not-run":
            return 3
        case _:
            assert_never(result)


def gpus_of_verdicts(verdicts: Sequence[Verdict]) -> tuple[TestedGpu, ...]:
    """Return the GPUs that the check `nvidia_smi` reports; none unless it passed."""
    gpus: set[TestedGpu] = set()
    for verdict in verdicts:
        rows = verdict.figures.get("gpus") if verdict.check == GPU_CHECK else None
        if verdict.status is CheckStatus.PASSED and isinstance(rows, list):
            gpus |= {_parse_gpu(row) for row in rows if isinstance(row, dict)}
    return tuple(sorted(gpus, key=lambda gpu: (gpu.uuid, gpu.name)))


def gpu_names_of(evidence: Evidence) -> tuple[str, ...]:
    """Return the names of the GPUs that the checks ran on, each once, such as `NVIDIA H200`."""
    gpus = gpus_of_verdicts(evidence.verdicts)
    return tuple(dict.fromkeys(gpu.name for gpu in gpus if gpu.name))


def driver_version_of(evidence: Evidence) -> str:
    """Return the version of the driver of those GPUs, or an empty text."""
    return next((gpu.driver for gpu in gpus_of_verdicts(evidence.verdicts) if gpu.driver), "")


def is_gpu_tested(evidence: Evidence) -> bool:
    """Return whether a GPU was given and at least one, and every required, GPU check passed.

    Where no GPU check is required, all of them must have passed.
    """
    on_gpu = [verdict for verdict in possible_verdicts(evidence.verdicts) if GPU in verdict.needs]
    counted = [verdict for verdict in on_gpu if verdict.required] or on_gpu
    return (
        evidence.device != NO_DEVICE
        and bool(counted)
        and all(verdict.status is CheckStatus.PASSED for verdict in counted)
        and not any(verdict.status is CheckStatus.FAILED for verdict in on_gpu)
    )


def _parse_gpu(row: Mapping[str, object]) -> TestedGpu:
    values = {name: str(row.get(name) or "") for name in ("uuid", "name", "driver")}
    return TestedGpu(uuid=values["uuid"], name=values["name"], driver=values["driver"])


def _judge(result: ScriptResult) -> tuple[CheckStatus, str]:
    """Return the status, and the reason unless it passed."""
    match result.ending:
        case "out of time":
            return CheckStatus.FAILED, f"time limit of {result.limit}"
        case "out of memory":
            return CheckStatus.FAILED, f"killed: it exceeded the memory limit of {result.limit}"
        case "without its container":
            return CheckStatus.FAILED, "its container ended before it did"
        case "too early":
            return (
                CheckStatus.FAILED,
                "it exited with 0 before the end of the script, which proves nothing",
            )
        case "exited":
            return _judge_exit_code(result)
        case _:
            assert_never(result.ending)


def _judge_exit_code(result: ScriptResult) -> tuple[CheckStatus, str]:
    message = _last_line(result.stderr)
    match result.code:
        case 0:
            return CheckStatus.PASSED, ""
        case code if code == NOT_RUN_CODE:
            return CheckStatus.NOT_RUN, message or "the check gives no reason"
        case code:
            return CheckStatus.FAILED, message or f"exit code {code}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-OUTPUT_LINES:])
