"""How a script ended, and what that proves; not-run is never a pass."""

from dataclasses import replace

import pytest

from dlimg.model import Check, Evidence, Status, Verdict
from dlimg.smoke.verdicts import Ran, exit_code, figures, is_gpu_tested, outcome, verdict

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


def said(status: Status, *, needs: str = "", required: bool = True) -> Verdict:
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
        (Ran(code=0), Status.PASSED, ""),
        (Ran(code=77, stderr="x\nno GPU here\n\n"), Status.NOT_RUN, "no GPU here"),
        (Ran(code=77), Status.NOT_RUN, "the check does not say why"),
        (Ran(code=1, stderr="Traceback\nAssertionError: 3 > 2\n"), Status.FAILED, "3 > 2"),
        (Ran(code=139), Status.FAILED, "exit code 139"),
        (Ran(code=78), Status.FAILED, "exit code 78"),
        (Ran(code=124, ending="out of time", limit="120 s"), Status.FAILED, "limit of 120 s"),
        (Ran(code=137, ending="out of memory", limit="2.0 GB"), Status.FAILED, "limit of 2.0 GB"),
    ],
)
def test_an_end_is_one_verdict(ran: Ran, status: Status, reason: str) -> None:
    found = verdict(CHECK, ran, device=CDI)
    assert found.status is status
    assert found.reason.endswith(reason)
    assert (found.check, found.sha256, found.needs) == ("conv_training", "1", {"gpu"})


def test_a_gpu_check_that_ends_well_without_a_gpu_is_not_run() -> None:
    assert verdict(CHECK, Ran(code=0), device="none").status is Status.NOT_RUN
    on_cpu = replace(CHECK, needs=frozenset())
    assert verdict(on_cpu, Ran(code=0), device="none").status is Status.PASSED


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
    assert figures(stdout) == found


def test_the_output_is_its_end() -> None:
    long = "\n".join(str(number) for number in range(100))
    assert (
        verdict(CHECK, Ran(code=1, stdout=long, stderr="bad"), device=CDI).output[-5:]
        == ("9\nbad"[-5:])
    )


PASS, FAIL, NOT = said(Status.PASSED), said(Status.FAILED), said(Status.NOT_RUN)
OPTIONAL = said(Status.NOT_RUN, required=False)


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
def test_the_worst_verdict_speaks_for_all(verdicts: list[Verdict], word: str, code: int) -> None:
    assert outcome(verdicts) == word
    assert exit_code(outcome(verdicts)) == code


GPU_PASS = said(Status.PASSED, needs="gpu")


@pytest.mark.parametrize(
    ("device", "verdicts", "tested"),
    [
        (CDI, (PASS, GPU_PASS), True),
        ("none", (PASS, GPU_PASS), False),
        (CDI, (PASS,), False),
        (CDI, (), False),
        (CDI, (GPU_PASS, said(Status.NOT_RUN, needs="gpu")), False),
        (CDI, (GPU_PASS, said(Status.NOT_RUN, needs="gpu", required=False)), False),
    ],
)
def test_gpu_tested_needs_a_gpu_and_checks_that_passed_on_it(
    device: str, verdicts: tuple[Verdict, ...], *, tested: bool
) -> None:
    evidence = Evidence(
        digest="d", cell="c", device=device, day="", dlimg="", engine="", verdicts=verdicts
    )
    assert is_gpu_tested(evidence) is tested
