"""How images ended, as rows, as data, and as one exit code."""

import json
from dataclasses import replace
from types import MappingProxyType

import pytest

from dlimg.errors import DlimgError, Negative, NoEngine, NotRun
from dlimg.model import BuildFailure, BuiltImage, CheckStatus, Evidence, Verdict
from dlimg.report.evidence_text import gpu_text
from dlimg.report.summary import (
    count_text,
    failure_text,
    headings,
    result_json,
    result_row,
)
from dlimg.results import ImageResult, exit_code_of_results, image_exit_code
from tests.support import image_results, samples

CPU = samples.planned()
CUDA = samples.planned(samples.image(samples.cell(accelerator="cuda13.2")))
REACH = "error: Request failed after 3 retries; cause: dns error"


def built(planned: object = CPU, *, cached: bool = False) -> BuiltImage:
    assert isinstance(planned, type(CPU))
    return BuiltImage(
        planned=planned, digest="sha256:1", size=2_170_000_000, seconds=9, cached=cached
    )


def failed(step: str = "[image 1/2] RUN --mount=type=cache uv", log: str = "boom") -> BuildFailure:
    return BuildFailure(planned=CPU, step=step, log=(log,), seconds=3)


def verdict(status: CheckStatus, *, gpu: bool = False, **figures: object) -> Verdict:
    return Verdict(
        check="conv_training",
        sha256="0",
        status=status,
        reason="" if status is CheckStatus.PASSED else "because",
        seconds=1.0,
        figures=MappingProxyType(figures),
        output="the end of its output",
        needs=frozenset({"gpu"} if gpu else ()),
    )


def evidence(*verdicts: Verdict, device: str = "none") -> Evidence:
    return Evidence(
        digest="sha256:1",
        cell="a-cell",
        device=device,
        day="2026-11-21",
        dlimg="0.1.0",
        engine="28",
        verdicts=verdicts,
    )


def line(
    result: BuiltImage | BuildFailure | None,
    proof: Evidence | None = None,
    error: DlimgError | None = None,
) -> ImageResult:
    image = result.planned.image if result else CPU.image
    return ImageResult(image=image, result=result, evidence=proof, error=error)


PASSED = evidence(verdict(CheckStatus.PASSED))
FAILED = evidence(verdict(CheckStatus.PASSED), verdict(CheckStatus.FAILED))
NO_GPU = evidence(verdict(CheckStatus.PASSED), verdict(CheckStatus.NOT_RUN, gpu=True))

# line, exit code, the last column of its row
ENDS = [
    (line(built()), 0, "not run"),
    (line(built(), PASSED), 0, "passed: all 1"),
    (line(built(), FAILED), 1, "failed: 1 of 2 passed, 1 failed"),
    (line(built(CUDA), NO_GPU), 3, "not-run: 1 of 2 passed, 1 not run; not tested on a GPU"),
    (line(failed()), 1, "failed to build"),
    (line(failed("[python 2/2] RUN uv", REACH)), 3, "not run: not to be had here"),
    (line(failed("[tool 2/3] RUN pip", REACH)), 1, "failed to build"),
    (line(failed("[python 2/2] RUN uv", "hash mismatch")), 1, "failed to build"),
    (line(None, error=NoEngine("no base")), 4, "not run: no base here"),
    (line(built(), error=Negative("the container ended")), 1, "failed: could not be run"),
]


@pytest.mark.parametrize(("one", "code", "said"), ENDS)
def test_each_result_has_its_row_and_exit_code(one: ImageResult, code: int, said: str) -> None:
    row = result_row(one, is_publish=False)
    assert row[-1] == said
    assert len(row) == len(headings(is_publish=False))
    assert exit_code_of_results([one]) == code


@pytest.mark.parametrize(
    ("codes", "all_of_them"),
    [([0, 0], 0), ([0, 3], 3), ([3, 1], 1), ([4, 3], 4), ([3, 4, 1, 0], 1), ([], 0)],
)
def test_a_failure_outweighs_what_was_not_run(codes: list[int], all_of_them: int) -> None:
    by_code = {code: end for end, code, _ in ENDS}
    assert exit_code_of_results([by_code[code] for code in codes]) == all_of_them


def test_a_refused_image_says_so() -> None:
    refused = line(built(CUDA), NO_GPU, NotRun("required checks were not run"))
    assert result_row(refused, is_publish=True)[-1] == "refused"
    assert exit_code_of_results([refused]) == 3
    assert "required checks were not run" in failure_text(refused)
    assert "required, not run: conv_training: because" in failure_text(refused)


def test_a_failure_shows_the_end_of_its_log() -> None:
    text = failure_text(line(failed()))
    assert "boom" in text
    assert "--mount" not in text
    assert "the end of its output" in failure_text(line(built(), FAILED))
    assert failure_text(line(built(), PASSED)) == ""


def test_the_gpu_is_named() -> None:
    gpu = {"uuid": "GPU-1", "name": "NVIDIA H200", "driver": "580.159"}
    sight = replace(verdict(CheckStatus.PASSED, gpu=True, gpus=[gpu]), check="nvidia_smi")
    proof = evidence(sight, device="nvidia.com/gpu=0")
    assert gpu_text(proof) == "tested on NVIDIA H200, driver 580.159, 2026-11-21"
    assert gpu_text(NO_GPU) == "not tested on a GPU"


@pytest.mark.parametrize("one", [row[0] for row in ENDS])
def test_the_same_keys_whatever_happened(one: ImageResult) -> None:
    assert list(result_json(one)) == list(result_json(ENDS[0][0]))


def test_the_summary_table_is_the_golden_one() -> None:
    golden = (image_results.GOLDEN / "table.txt").read_text(encoding="utf-8")
    assert image_results.table(image_results.LINES) == golden, (
        "run `python -m tests.support.image_results` and review the change"
    )


@pytest.mark.parametrize(("one", "code"), image_results.WALK)
def test_every_line_is_json_and_its_code_stands(one: ImageResult, code: int) -> None:
    assert image_exit_code(one) == code
    assert exit_code_of_results([one]) == (5 if one.skipped else code)
    value = json.loads(json.dumps(result_json(one), allow_nan=False))
    assert list(value) == list(result_json(ENDS[0][0]))
    assert value["vanished"] == list(one.vanished)


def test_a_skipped_image_is_no_failure_beside_others() -> None:
    skipped = next(result for result in image_results.LINES if result.skipped)
    good = image_results.LINES[0]
    assert exit_code_of_results([good, skipped, good]) == 0
    assert count_text([good, skipped, good]) == "2 of 3 images"
    assert count_text([good]) == "1 image"
    assert exit_code_of_results([skipped, skipped]) == 5, "nothing at all was done"
    assert exit_code_of_results([skipped, *(result for result in image_results.LINES)]) == 1


@pytest.mark.parametrize(
    ("output", "below"),
    [
        ("it is off\n", []),
        ("two lines\nit is off\n", ["    two lines", "    it is off"]),
    ],
)
def test_a_reason_that_is_all_that_was_printed_is_told_once(output: str, below: list[str]) -> None:
    one = replace(verdict(CheckStatus.FAILED), reason="it is off", output=output, required=True)
    text = failure_text(line(built(), evidence(one))).splitlines()
    assert text[0] == "a-cell  conv_training failed: it is off"
    assert text[1:] == below
