"""The plan as data, and the jobs that GitHub gets from it."""

import pytest

from dlimg.model import Image
from dlimg.render.plan import JOBS_PER_MATRIX, github_jobs, plan_entries, plan_json
from tests.support import samples


def by_layers(_: Image) -> tuple[str, str]:
    return "layers", "it is so"


@pytest.mark.parametrize(
    ("base", "pins", "said"),
    [
        ("registry", {}, "registry debian:trixie-slim"),
        ("registry", {"debian13": "sha256:1"}, "registry debian:trixie-slim@sha256:1"),
        ("bootstrap", {"debian13": "sha256:1"}, "bootstrap of trixie"),
        ("auto", {}, "registry debian:trixie-slim, else bootstrap of trixie"),
    ],
)
def test_the_plan_names_the_base(base: str, pins: dict[str, str], said: str) -> None:
    assert plan_entries([samples.image()], base, pins, by_layers)[0].base == said


def test_plan_as_data() -> None:
    image = samples.image(samples.cell(accelerator="cuda13.2"))
    (one,) = plan_json(plan_entries([image], "bootstrap", {}, by_layers))
    assert one["cell"] == "pytorch-2.15.0-cuda13.2-py3.13-debian13"
    assert one["needs_gpu"] is True
    assert (one["builder"], one["builder_why"]) == ("layers", "it is so")
    assert one["download_bytes"] == image.lock.size


@pytest.mark.parametrize(("cells", "jobs"), [(1, 1), (256, 256), (257, 129), (1000, 250)])
def test_every_cell_is_in_one_job(cells: int, jobs: int) -> None:
    images = [samples.image(samples.cell(version=f"2.{number}")) for number in range(cells)]
    result = github_jobs(plan_entries(images, "auto", {}, by_layers))["include"]
    assert len(result) == jobs <= JOBS_PER_MATRIX
    named = [name for job in result for name in str(job["cells"]).split()]
    assert sorted(named) == sorted(image.cell.id for image in images)


def test_a_job_with_a_cuda_cell_needs_a_gpu() -> None:
    images = [samples.image(samples.cell(accelerator=name)) for name in ("cpu", "cuda13.2")]
    result = github_jobs(plan_entries(images, "auto", {}, by_layers))["include"]
    assert [job["needs_gpu"] for job in result] == [False, True]
