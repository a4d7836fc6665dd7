"""Every row of the facts is asked about: what it says works, and what it rules out is refused."""

from dataclasses import replace

import pytest

from dlimg.compat.combination import Combination
from dlimg.compat.legacy import legacy_answer, legacy_named
from dlimg.compat.parse_names import CPU
from dlimg.compat.query import Query, cudas
from dlimg.compat.rules_gpu import driver_cuda
from dlimg.compat.why import WhyAnswer, answer
from dlimg.document.versions import numbers
from dlimg.facts.model import PYPI, FrameworkRelease, GpuFact, ReleaseBuild
from tests.support.why_tables import TODAY, facts, judge

RELEASES = [
    (release, build)
    for releases in facts().releases.values()
    for release in releases.values()
    for build in release.builds
]
FRAMEWORKS = sorted(facts().releases)


def of(framework: str) -> list[tuple[FrameworkRelease, ReleaseBuild]]:
    return [each for each in RELEASES if each[0].framework == framework]


def asked(question: Query) -> WhyAnswer:
    return answer(judge(), question, TODAY, count=0)


def question_of(release: FrameworkRelease, build: ReleaseBuild, python: str = "") -> Query:
    cuda = cudas(facts(), build)[0] if build.cuda else CPU
    return Query(
        framework=release.framework,
        version=release.version,
        cuda=cuda,
        python=python,
        arch=build.arch,
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_build_works_with_every_python_it_has(framework: str) -> None:
    """Where the Python can be had and, for old TensorFlow, a base image with its CUDA."""
    for release, build in of(framework):
        for python in build.pythons or release.pythons:
            if python not in facts().managed:
                continue
            found = asked(question_of(release, build, python))
            fact = facts().cuda.get(found.combination.cuda)
            if build.uses_system_cuda and fact and fact.image_state == "deleted":
                assert found.fails_at == "image"
                assert "base-image" in {one.rule for one in found.reasons}
            else:
                assert found.valid, [one.message for one in found.reasons]
                assert all(one.source for one in found.reasons)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_release_works_with_the_pythons_around_its_own(framework: str) -> None:
    known = sorted(facts().pythons, key=numbers)
    once = {release.version: (release, build) for release, build in of(framework)}
    for release, build in once.values():
        pythons = build.pythons or release.pythons
        below = [one for one in known if numbers(one) < numbers(min(pythons, key=numbers))]
        above = [one for one in known if numbers(one) > numbers(max(pythons, key=numbers))]
        for python in (*below[-1:], *above[:1]):
            found = asked(question_of(release, build, python))
            assert found.fails_at == "install", (release.version, python)
            refused = {one.rule: one for one in found.reasons if one.level == "refusal"}
            assert refused["python-wheel"].source == release.source


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_release_is_there_for_the_cuda_below_all_of_its_own(framework: str) -> None:
    for release in facts().releases[framework].values():
        known = [numbers(one.cuda) for one in release.builds if one.cuda]
        below = [cuda for cuda in facts().cuda if known and numbers(cuda)[:1] < min(known)[:1]]
        if not below:
            continue
        cuda = max(below, key=numbers)
        found = asked(Query(framework=framework, version=release.version, cuda=cuda))
        doubted = [one for one in found.reasons if one.rule == "cuda-build" and not one.certain]
        assert not found.valid or doubted, (release.version, cuda)


@pytest.mark.parametrize("cuda", list(facts().cuda))
def test_newer_drivers_always_run_a_cuda_and_older_than_its_floor_never(cuda: str) -> None:
    fact = facts().cuda[cuda]
    one = Combination(framework="torch", version="2.6.0", cuda=cuda)
    for driver in (fact.min_driver, *fact.drivers.values(), "610.43.02", "999.99", "999"):
        said = driver_cuda(facts(), one._replace(driver=driver))
        assert said is not None
        assert said.level == "support"
    said = driver_cuda(facts(), one._replace(driver="340.29"))
    assert said is not None
    assert (said.level, said.at) == ("refusal", "runtime")


@pytest.mark.parametrize("gpu", list(facts().gpus.values()), ids=lambda gpu: gpu.name)
def test_a_gpu_ends_where_its_row_says(gpu: GpuFact) -> None:
    newest = Query(framework="torch", version="2.15.0", cuda="13.2", gpu=gpu)
    found = asked(replace(newest, arch=gpu.arch or "x86_64"))
    if gpu.last_cuda:
        assert found.fails_at == "runtime"
        assert "gpu-cuda" in {one.rule for one in found.reasons}
        old = asked(replace(newest, driver=str(int(gpu.last_driver) + 100)))
        assert "gpu-driver" in {one.rule for one in old.reasons}
    elif gpu.name == "T4G":
        # Its hosts are aarch64, and the wheels for these begin at sm_80.
        assert found.fails_at == "runtime"
    else:
        assert found.valid, [one.message for one in found.reasons]


@pytest.mark.parametrize("name", list(facts().legacy))
def test_an_old_environment_is_answered(name: str) -> None:
    legacy = legacy_named(facts(), name)
    assert legacy is not None
    assert legacy.name == name
    found = legacy_answer(judge(), legacy, TODAY)
    assert found.reasons
    assert all(one.source for one in found.reasons)
    if legacy.wheel_state == "missing" and legacy.origin.certain:
        assert found.fails_at == "install"
    if legacy.packages and not found.valid:
        assert found.nearest, "nothing replaces it"


@pytest.mark.parametrize("name", list(facts().distributions))
def test_a_system_takes_the_wheels_that_its_glibc_allows(name: str) -> None:
    system = facts().distributions[name]
    found = asked(Query(framework="torch", version="2.15.0", system=system))
    sure = system.origin.sure_of("glibc")
    too_old = bool(system.glibc) and numbers(system.glibc) < (2, 28)
    assert found.valid is not (sure and (too_old or system.libc == "musl"))


def test_the_package_index_comes_first() -> None:
    for release, build in RELEASES:
        if build.index == PYPI and build.cuda and build.arch == "x86_64":
            found = asked(Query(framework=release.framework, version=release.version))
            chosen = found.combination.build
            assert chosen is None or chosen.index == PYPI, release.version
