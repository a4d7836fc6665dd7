"""Packages under `build`: what is asked of their versions, and what is left to the lock."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.lock.check import check_locks
from dlimg.pipeline.built_packages import build_packages, requirement_to_build
from tests.support import samples
from tests.support.index_project import DEFAULT, IndexProject
from tests.support.package_index import PackageIndexServer, package_index


@pytest.fixture
def index() -> Iterator[PackageIndexServer]:
    with package_index(*DEFAULT) as server:
        yield server


def project_with(build: str, index: PackageIndexServer, folder: Path) -> IndexProject:
    packages = f'["numlike=={{version}}"]\n    build: {build}'.replace("{version}", "2.0")
    return IndexProject(folder=folder, default=index.url, packages=packages)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("jieba", "jieba"),
        ("Open_AI.whisper", "Open_AI.whisper<20260101,>=20250101"),
        ("open-ai-whisper==20250625", "open-ai-whisper<20260101,==20250625,>=20250101"),
    ],
)
def test_a_version_is_what_the_packages_of_the_cell_ask(text: str, wanted: str) -> None:
    requirements = ("numpy", "open-ai-whisper>=20250101")
    cell = replace(samples.cell(requirements=requirements), bounds=("open-ai-whisper<20260101",))
    assert str(requirement_to_build(text, cell)) == wanted


def test_a_package_with_a_wheel_is_left_to_the_lock(
    index: PackageIndexServer, tmp_path: Path
) -> None:
    sample = project_with("[numlike]", index, tmp_path)
    project = sample.write("")
    build_packages(project, [sample.cell], sample.context, private_engine="refuse")
    (message,) = (line for line in sample.messages if "numlike" in line)
    assert message.startswith("numlike of own-1.0-cpu-py3.11-debian12 is not built: the index has")


def test_a_package_without_sources_is_refused(index: PackageIndexServer, tmp_path: Path) -> None:
    sample = project_with("[numlike>=9]", index, tmp_path)
    with pytest.raises(BadInput, match="no source distribution of numlike"):
        build_packages(sample.write(""), [sample.cell], sample.context, private_engine="refuse")


def test_a_current_lock_asks_no_index(index: PackageIndexServer, tmp_path: Path) -> None:
    sample = project_with("[numlike]", index, tmp_path)
    sample.write("")
    sample.lock()
    asked = len(index.requests)
    build_packages(sample.project, [sample.cell], sample.context, private_engine="refuse")
    assert len(index.requests) == asked
    with pytest.raises(BadInput) as refused:
        build_packages(
            project_with("[numlike, other]", index, tmp_path).write(""),
            [sample.cell],
            sample.context,
            private_engine="refuse",
            upgrade=True,
        )
    assert "no source distribution of other" in str(refused.value)


def test_a_package_that_no_image_needs_is_refused(
    index: PackageIndexServer, tmp_path: Path
) -> None:
    sample = project_with("[jieba]", index, tmp_path)
    sample.write("")
    sample.lock()
    cells = sample.project.resolution.cells
    (problem,) = check_locks(cells, sample.project.locks, everything=cells)
    assert problem.message == "jieba is to be built, and no image needs it"


def test_a_missing_lock_of_built_wheels_is_no_fault(
    index: PackageIndexServer, tmp_path: Path
) -> None:
    sample = project_with("[jieba]", index, tmp_path)
    cells = sample.write("").resolution.cells
    assert check_locks(cells, sample.project.locks, everything=cells) == ()
