"""How a script ended, and what that proves; not-run is never a pass."""

from dataclasses import replace

import pytest

from dlimg.checks.verdicts import (
    ScriptResult,
    driver_version_of,
    exit_code_of,
    gpu_names_of,
    gpus_of_verdicts,
    is_gpu_tested,
    merge_attempts,
    outcome_of,
    parse_figures,
    verdict_of,
)
from dlimg.model import Check, CheckStatus, Evidence, Verdict

CHECK = Check(
    name="conv_training",
    path="images/jax/checks/conv_training.py",
    script="",
    sha256="1",
    proves="it learns",
    needs=frozenset({"gpu"}),
    seconds=120,
)
CDI = "nvidia.com/gpu=all"


def said(status: CheckStatus, *, needs: str = "", required: bool = True) -> Verdict:
    return Verdict(
        check="a",
        sha256="1",
        status=status,
        reason="",
        seconds=1.0,
        required=required,
        needs=frozenset({needs} - {""}),
    )


@pytest.mark.parametrize(
    ("ran", "status", "reason"),
    [
        (ScriptResult(code=0), CheckStatus.PASSED, ""),
        (ScriptResult(code=77, stderr="x\nno GPU here\n\n"), CheckStatus.NOT_RUN, "no GPU here"),
        (ScriptResult(code=77), CheckStatus.NOT_RUN, "the check gives no reason"),
        (
            ScriptResult(code=1, stderr="Traceback\nAssertionError: 3 > 2\n"),
            CheckStatus.FAILED,
            "3 > 2",
        ),
        (ScriptResult(code=139), CheckStatus.FAILED, "exit code 139"),
        (ScriptResult(code=78), CheckStatus.FAILED, "exit code 78"),
        (
            ScriptResult(code=137, ending="without its container"),
            CheckStatus.FAILED,
            "ended before it did",
        ),
        (
            ScriptResult(code=124, ending="out of time", limit="120 s"),
            CheckStatus.FAILED,
            "limit of 120 s",
        ),
        (
            ScriptResult(code=137, ending="out of memory", limit="2.0 GB"),
            CheckStatus.FAILED,
            "limit of 2.0 GB",
        ),
    ],
)
def test_the_verdict_of_each_ending(ran: ScriptResult, status: CheckStatus, reason: str) -> None:
    verdict = verdict_of(CHECK, ran, device=CDI)
    assert verdict.status is status
    assert verdict.reason.endswith(reason)
    assert (verdict.check, verdict.sha256, verdict.needs) == (
        "conv_training",
        "1",
        frozenset({"gpu"}),
    )


def test_a_verdict_is_required_like_its_check() -> None:
    for required in (True, False):
        verdict = verdict_of(replace(CHECK, required=required), ScriptResult(code=0), device=CDI)
        assert verdict.required is required


def test_the_second_attempt_counts_and_keeps_the_first_reason() -> None:
    first = verdict_of(CHECK, ScriptResult(code=1, stderr="busy"), device=CDI)
    again = verdict_of(CHECK, ScriptResult(code=0, seconds=3), device=CDI)
    result = merge_attempts(first, again)
    assert (result.status, result.attempts, result.first_reason) == (CheckStatus.PASSED, 2, "busy")
    assert (result.seconds, result.reason) == (3, "")


def test_a_second_attempt_not_run_keeps_the_failure() -> None:
    first = verdict_of(CHECK, ScriptResult(code=1, stderr="wrong sum"), device=CDI)
    verdict = merge_attempts(
        first, verdict_of(CHECK, ScriptResult(code=77, stderr="no GPU here"), device=CDI)
    )
    assert (verdict.status, verdict.attempts, verdict.first_reason) == (
        CheckStatus.FAILED,
        2,
        "wrong sum",
    )
    assert verdict.reason == "wrong sum; then not run: no GPU here"
    assert outcome_of([replace(verdict, required=False)]) == "failed"


def test_a_gpu_check_that_passes_without_a_gpu_was_not_run() -> None:
    assert verdict_of(CHECK, ScriptResult(code=0), device="none").status is CheckStatus.NOT_RUN
    on_cpu = replace(CHECK, needs=frozenset())
    assert verdict_of(on_cpu, ScriptResult(code=0), device="none").status is CheckStatus.PASSED


@pytest.mark.parametrize(
    ("stdout", "found"),
    [
        ("", {}),
        ('{"loss": 1}\nmore\n{"loss": 2}\nthe end\n', {"loss": 2}),
        ("{not json}\n", {}),
        pytest.param('{"a": ' + "[" * 100_000 + "\n", {}, id="nested too deeply"),
        ("[1]\n", {}),
    ],
)
def test_figures_are_the_last_json_line(stdout: str, found: dict[str, object]) -> None:
    assert parse_figures(stdout) == found


def test_only_the_end_of_the_output_is_kept() -> None:
    long = "\n".join(str(number) for number in range(100))
    assert (
        verdict_of(CHECK, ScriptResult(code=1, stdout=long, stderr="bad"), device=CDI).output[-5:]
        == ("9\nbad"[-5:])
    )


PASS, FAIL, NOT = said(CheckStatus.PASSED), said(CheckStatus.FAILED), said(CheckStatus.NOT_RUN)
OPTIONAL = said(CheckStatus.NOT_RUN, required=False)


@pytest.mark.parametrize(
    ("verdicts", "word", "code"),
    [
        ([PASS, PASS], "passed", 0),
        ([PASS, OPTIONAL], "passed", 0),
        ([PASS, NOT], "not-run", 3),
        ([NOT, FAIL, PASS], "failed", 1),
        ([PASS, replace(FAIL, required=False)], "failed", 1),
        ([], "not-run", 3),
        ([OPTIONAL], "not-run", 3),
    ],
)
def test_the_outcome_is_the_worst_verdict(verdicts: list[Verdict], word: str, code: int) -> None:
    assert outcome_of(verdicts) == word
    assert exit_code_of(outcome_of(verdicts)) == code


GPU_PASS = said(CheckStatus.PASSED, needs="gpu")
OPTIONAL_ON_GPU = said(CheckStatus.NOT_RUN, needs="gpu", required=False)
ONE, TWO = ({"uuid": f"GPU-{number}", "name": "NVIDIA H200"} for number in (1, 2))
SIGHT_OF_ONE = replace(GPU_PASS, check="nvidia_smi", figures={"gpus": [ONE]})
SIGHT_OF_TWO = replace(GPU_PASS, check="nvidia_smi", figures={"gpus": [ONE, TWO]})
TWO_NOT_RUN = replace(said(CheckStatus.NOT_RUN), needs=frozenset({"gpu", "two gpus"}))


@pytest.mark.parametrize(
    ("device", "verdicts", "tested"),
    [
        (CDI, (PASS, GPU_PASS), True),
        ("none", (PASS, GPU_PASS), False),
        (CDI, (PASS,), False),
        (CDI, (), False),
        (CDI, (GPU_PASS, said(CheckStatus.NOT_RUN, needs="gpu")), False),
        (CDI, (GPU_PASS, OPTIONAL_ON_GPU), True),
        (CDI, (GPU_PASS, replace(OPTIONAL_ON_GPU, status=CheckStatus.FAILED)), False),
        (CDI, (PASS, replace(GPU_PASS, required=False)), True),
        (CDI, (PASS, replace(GPU_PASS, required=False), OPTIONAL_ON_GPU), False),
        (CDI, (said(CheckStatus.NOT_RUN, needs="gpu"), replace(GPU_PASS, required=False)), False),
        (CDI, (SIGHT_OF_ONE, TWO_NOT_RUN), True),
        (CDI, (SIGHT_OF_TWO, TWO_NOT_RUN), False),
        (CDI, (GPU_PASS, TWO_NOT_RUN), False),
        (CDI, (SIGHT_OF_ONE, replace(TWO_NOT_RUN, status=CheckStatus.FAILED)), False),
        (CDI, (SIGHT_OF_ONE, TWO_NOT_RUN, said(CheckStatus.NOT_RUN, needs="gpu")), False),
    ],
)
def test_gpu_tested_needs_a_gpu_and_checks_that_passed_on_it(
    device: str, verdicts: tuple[Verdict, ...], *, tested: bool
) -> None:
    evidence = Evidence(
        digest="d", cell="c", device=device, day="", dlimg="", engine="", verdicts=verdicts
    )
    assert is_gpu_tested(evidence) is tested


@pytest.mark.parametrize(
    ("sight", "code"), [(SIGHT_OF_ONE, 0), (SIGHT_OF_TWO, 3), (GPU_PASS, 3)], ids=["1", "2", "0"]
)
def test_one_gpu_is_enough_where_there_is_one(sight: Verdict, code: int) -> None:
    assert exit_code_of(outcome_of([PASS, sight, TWO_NOT_RUN])) == code


# As images/common/checks/nvidia_smi.py shows them.
H200 = {
    "uuid": "GPU-1",
    "name": "NVIDIA H200",
    "driver": "580.95",
    "capability": "9.0",
    "memory": 143771,
}
OTHER = {**H200, "uuid": "GPU-0", "name": "NVIDIA L4"}


@pytest.mark.parametrize(
    ("figures", "status", "names", "version"),
    [
        ({"gpus": [H200]}, CheckStatus.PASSED, ("NVIDIA H200",), "580.95"),
        ({"gpus": [H200, OTHER]}, CheckStatus.PASSED, ("NVIDIA L4", "NVIDIA H200"), "580.95"),
        (
            {"gpus": [H200, {**H200, "uuid": "GPU-2"}]},
            CheckStatus.PASSED,
            ("NVIDIA H200",),
            "580.95",
        ),
        ({"gpus": [H200]}, CheckStatus.FAILED, (), ""),
        ({"gpus": [H200]}, CheckStatus.NOT_RUN, (), ""),
        ({}, CheckStatus.PASSED, (), ""),
        ({"gpus": "NVIDIA H200"}, CheckStatus.PASSED, (), ""),
        ({"gpus": ["NVIDIA H200", {"name": None}]}, CheckStatus.PASSED, (), ""),
    ],
)
def test_the_gpu_is_the_one_that_nvidia_smi_saw(
    figures: dict[str, object], status: CheckStatus, names: tuple[str, ...], version: str
) -> None:
    sight = replace(said(status, needs="gpu"), check="nvidia_smi", figures=figures)
    other = replace(GPU_PASS, figures={"gpus": [{"name": "made up"}], "name": "x"})
    evidence = Evidence(
        digest="d", cell="c", device=CDI, day="", dlimg="", engine="", verdicts=(other, sight)
    )
    assert gpu_names_of(evidence) == names
    assert driver_version_of(evidence) == version


@pytest.mark.parametrize("field", ["uuid", "name", "driver"])
def test_another_gpu_or_driver_is_another_device(field: str) -> None:
    def sight(*rows: dict[str, object]) -> Verdict:
        return replace(GPU_PASS, check="nvidia_smi", figures={"gpus": list(rows)})

    same = gpus_of_verdicts([sight(H200, OTHER)])
    assert gpus_of_verdicts([sight({**OTHER, "memory": 1}, H200)]) == same
    assert gpus_of_verdicts([sight({**H200, field: "x"}, OTHER)]) != same
