"""A made-up walk that ends in every way there is; run it to write its golden files anew."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from dlimg.errors import Negative, NetworkFailure, NoEngine, NotRun, Problem
from dlimg.model import BuildFailure, BuiltImage, CheckStatus, Evidence, Host, PlannedImage, Verdict
from dlimg.publish.promote import PublishedImage
from dlimg.report.github import github_summary
from dlimg.report.junit import junit_report
from dlimg.report.plain import plain_table
from dlimg.report.summary import failure_text, headings, result_row
from dlimg.results import ImageResult
from tests.support import samples

GOLDEN: Final = Path(__file__).parent.parent / "golden" / "reports"
H200: Final = {"uuid": "GPU-1", "name": "NVIDIA H200", "driver": "580.159"}
NO_GPU: Final = "no GPU here: the driver's library NVML is not there"
ONE_GPU: Final = "one GPU is here, two are needed"
UGLY: Final = (
    "</pre></details> ]]> <b>&amp; | a `tick` *star*\n\n"
    "\x1b[31mred\x1b[0m \x00\x08 \ud800 @team #12 <!--"
)
HOST: Final = Host(
    system="Debian GNU/Linux 13 (trixie)",
    kernel="6.12.48",
    arch="x86_64",
    processor="AMD EPYC 9554",
    cores=16,
    memory=128_000_000_000,
)


def planned(version: str, *, cuda: bool = False) -> PlannedImage:
    cell = samples.cell(version=version, accelerator="cuda13.2" if cuda else "cpu")
    return samples.planned(samples.image(cell, tag=cell.id.removeprefix("pytorch-")))


def built(version: str, *, cuda: bool = False, cached: bool = False) -> BuiltImage:
    return BuiltImage(
        planned=planned(version, cuda=cuda),
        digest=f"sha256:{'a' * 64}",
        size=2_170_000_000,
        seconds=65.25,
        cached=cached,
    )


def verdict(
    check: str,
    status: CheckStatus = CheckStatus.PASSED,
    reason: str = "",
    *,
    needs: Sequence[str] = (),
) -> Verdict:
    return Verdict(
        check=check,
        sha256="c" * 64,
        status=status,
        reason=reason,
        seconds=1.5,
        needs=frozenset(needs),
    )


def evidence(*verdicts: Verdict, device: str = "none", vanished: tuple[str, ...] = ()) -> Evidence:
    return Evidence(
        digest=f"sha256:{'a' * 64}",
        cell="a-cell",
        device=device,
        day="2026-11-21",
        dlimg="0.1.0",
        engine="Docker 28.5.2",
        verdicts=verdicts,
        host=HOST,
        vanished=vanished,
    )


def line(
    result: BuiltImage | BuildFailure | None, proof: Evidence | None = None, **rest: object
) -> ImageResult:
    image = result.planned.image if result else planned("9.0").image
    proof = replace(proof, cell=image.cell.id) if proof else None
    return replace(ImageResult(image=image, result=result, evidence=proof), **rest)  # type: ignore[arg-type]


PASSED = verdict("conv_training")
SIGHT = replace(
    verdict("nvidia_smi", needs=["gpu"]), figures={"gpus": [H200], "loss": float("nan")}
)
FLAKY = replace(
    verdict("gpu_memory_released", needs=["gpu"]), attempts=2, first_reason="| 12 MiB are *missing*"
)
FAILED = replace(
    verdict(
        "tag_matches_image", CheckStatus.FAILED, "cuDNN 9.25 loads, <9.26> is promised | by the tag"
    ),
    output=UGLY,
    attempts=2,
    first_reason="the same",
)
TWO = verdict("nccl_all_reduce", CheckStatus.NOT_RUN, ONE_GPU, needs=["gpu", "two gpus"])
BLIND = [
    verdict("nvidia_smi", CheckStatus.NOT_RUN, NO_GPU, needs=["gpu"]),
    verdict("is_gpu_available", CheckStatus.NOT_RUN, NO_GPU, needs=["gpu"]),
    replace(verdict("benchmark", CheckStatus.NOT_RUN, NO_GPU, needs=["gpu"]), required=False),
]
PUBLISHED = PublishedImage(
    cell="a-cell",
    reference="ghcr.io/team/pytorch:1.6-0123456789ab",
    digest=f"sha256:{'b' * 64}",
    moved=("ghcr.io/team/pytorch:1.6", "ghcr.io/team/pytorch:latest"),
    standing="not tested on a GPU",
)
SILENT = Problem(
    message="the index pytorch-cpu (https://h/whl) cannot be used: it does not answer in time",
    hint="name a mirror with UV_INDEX=pytorch-cpu=URL",
)
REACH = "error: Request failed after 3 retries; cause: dns error"

# Every way, and the exit code that it alone would end with.
WALK: Final[tuple[tuple[ImageResult, int], ...]] = (
    (line(built("1.0"), evidence(PASSED)), 0),
    (line(built("1.1", cached=True), evidence(PASSED, vanished=("old_check", "older"))), 0),
    (
        line(
            built("1.2", cuda=True),
            evidence(SIGHT, PASSED, FLAKY, TWO, device="nvidia.com/gpu=all"),
        ),
        0,
    ),
    (line(built("1.3"), evidence(PASSED, FAILED)), 1),
    (line(built("1.4", cuda=True), evidence(PASSED, *BLIND)), 3),
    (line(built("1.5"), evidence(replace(PASSED, required=False))), 3),
    (line(built("1.6", cuda=True), evidence(PASSED, *BLIND), published=PUBLISHED), 0),
    (
        line(
            built("1.7", cuda=True),
            evidence(PASSED, *BLIND),
            error=NotRun(
                "the image is not tested on a GPU", where="pytorch-1.7-cuda13.2-py3.13-debian13"
            ),
        ),
        3,
    ),
    (line(built("1.8"), error=Negative("no check could be run: the container ended")), 1),
    (line(built("1.9")), 0),
    (
        line(
            BuildFailure(
                planned=planned("2.0"),
                step="[image 1/2] RUN uv pip install",
                log=("Resolved 30 packages", "hash mismatch for <torch>"),
                seconds=3.25,
            )
        ),
        1,
    ),
    (
        line(
            BuildFailure(
                planned=planned("2.1"), step="[python 2/2] RUN uv", log=(REACH,), seconds=30.0
            )
        ),
        3,
    ),
    (line(None, error=NoEngine("no base debian:trixie-slim", hint="name a mirror")), 4),
    (line(None, error=NetworkFailure(SILENT.message, hint=SILENT.hint)), 5),
    (line(None, skipped=SILENT), 0),
    (
        ImageResult(
            evidence=replace(evidence(PASSED, SIGHT, device="host"), cell="host-jax", digest="")
        ),
        0,
    ),
)
LINES: Final = tuple(result for result, _ in WALK)


def table(lines: Sequence[ImageResult]) -> str:
    """What a person reads: the table, then what stands below it."""
    rows = [result_row(one, is_publish=True) for one in lines]
    below = "\n".join(text for text in map(failure_text, lines) if text)
    return f"{plain_table(headings(is_publish=True), rows)}\n{below}\n".encode(
        errors="replace"
    ).decode()


FILES: Final[Mapping[str, Callable[[Sequence[ImageResult]], str]]] = MappingProxyType(
    {"junit.xml": junit_report, "summary.md": github_summary, "table.txt": table}
)

if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, draw in FILES.items():
        (GOLDEN / name).write_text(draw(LINES), encoding="utf-8")
