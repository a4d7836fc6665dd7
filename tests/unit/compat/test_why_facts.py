"""`why` for every row of the facts: its builds are valid, and other combinations refused."""

from dataclasses import replace

import pytest

from dlimg.compat.combination import Combination
from dlimg.compat.legacy import find_legacy, legacy_answer
from dlimg.compat.parse_names import CPU
from dlimg.compat.query import Query, cudas
from dlimg.compat.rules_gpu import driver_cuda
from dlimg.compat.why import WhyAnswer, answer
from dlimg.document.versions import numbers
from dlimg.facts.model import PYPI, FrameworkRelease, GpuFact, ReleaseBuild
from tests.support.why_tables import TODAY, engine, facts

RELEASES = [
    (release, build)
    for releases in facts().releases.values()
    for release in releases.values()
    for build in release.builds
]
FRAMEWORKS = sorted(facts().releases)


def of(framework: str) -> list[tuple[FrameworkRelease, ReleaseBuild]]:
    return [each for each in RELEASES if each[0].framework == framework]


def judge(question: Query) -> WhyAnswer:
    return answer(engine(), question, TODAY, count=0)


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
            judged = judge(question_of(release, build, python))
            fact = facts().cuda.get(judged.combination.cuda)
            if release.yanked:
                assert judged.fails_at == "install"
            elif any(
                python not in facts().unavailable[pin].pythons
                for pin in build.pins.items() & facts().unavailable.keys()
            ):
                assert judged.fails_at == "install"
                assert "pinned-wheels" in {reason.rule for reason in judged.reasons}
            elif build.uses_system_cuda and fact and fact.image_state == "deleted":
                assert judged.fails_at == "image"
                assert "base-image" in {reason.rule for reason in judged.reasons}
            else:
                assert judged.valid, [reason.message for reason in judged.reasons]
                assert all(reason.source for reason in judged.reasons)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_release_works_with_the_pythons_around_its_own(framework: str) -> None:
    known = sorted(facts().pythons, key=numbers)
    once = {release.version: (release, build) for release, build in of(framework)}
    for release, build in once.values():
        pythons = build.pythons or release.pythons
        below = [python for python in known if numbers(python) < numbers(min(pythons, key=numbers))]
        above = [python for python in known if numbers(python) > numbers(max(pythons, key=numbers))]
        for python in (*below[-1:], *above[:1]):
            judged = judge(question_of(release, build, python))
            assert judged.fails_at == "install", (release.version, python)
            refused = {
                reason.rule: reason for reason in judged.reasons if reason.level == "refusal"
            }
            assert refused["python-wheel"].source == release.source


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_release_is_there_for_the_cuda_below_all_of_its_own(framework: str) -> None:
    for release in facts().releases[framework].values():
        known = [numbers(build.cuda) for build in release.builds if build.cuda]
        below = [cuda for cuda in facts().cuda if known and numbers(cuda)[:1] < min(known)[:1]]
        if not below:
            continue
        cuda = max(below, key=numbers)
        judged = judge(Query(framework=framework, version=release.version, cuda=cuda))
        doubted = [
            reason
            for reason in judged.reasons
            if reason.rule == "cuda-build" and not reason.certain
        ]
        assert not judged.valid or doubted, (release.version, cuda)


@pytest.mark.parametrize("cuda", list(facts().cuda))
def test_newer_drivers_always_run_a_cuda_and_older_than_its_floor_never(cuda: str) -> None:
    fact = facts().cuda[cuda]
    combination = Combination(framework="torch", version="2.6.0", cuda=cuda)
    for driver in (fact.min_driver, *fact.drivers.values(), "610.43.02", "999.99", "999"):
        reason = driver_cuda(facts(), combination._replace(driver=driver))
        assert reason is not None
        assert reason.level == "support"
    reason = driver_cuda(facts(), combination._replace(driver="340.29"))
    assert reason is not None
    assert (reason.level, reason.at) == ("refusal", "runtime")


@pytest.mark.parametrize("gpu", list(facts().gpus.values()), ids=lambda gpu: gpu.name)
def test_a_gpu_ends_where_its_row_says(gpu: GpuFact) -> None:
    newest = Query(framework="torch", version="2.15.0", cuda="13.2", gpu=gpu)
    judged = judge(replace(newest, arch=gpu.arch or "x86_64"))
    if gpu.last_cuda:
        assert judged.fails_at == "runtime"
        assert "gpu-cuda" in {reason.rule for reason in judged.reasons}
        old = judge(replace(newest, driver=str(int(gpu.last_driver) + 100)))
        assert "gpu-driver" in {reason.rule for reason in old.reasons}
    elif gpu.name == "T4G":
        # Its hosts are aarch64, and the wheels for these begin at sm_80.
        assert judged.fails_at == "runtime"
    else:
        assert judged.valid, [reason.message for reason in judged.reasons]


@pytest.mark.parametrize("name", list(facts().legacy))
def test_an_old_environment_is_answered(name: str) -> None:
    legacy = find_legacy(facts(), name)
    assert legacy is not None
    assert legacy.name == name
    judged = legacy_answer(engine(), legacy, TODAY)
    assert judged.reasons
    assert all(reason.source for reason in judged.reasons)
    if legacy.wheel_state == "missing" and legacy.origin.certain:
        assert judged.fails_at == "install"
    if legacy.packages and not judged.valid:
        assert judged.nearest, "nothing replaces it"


@pytest.mark.parametrize("name", list(facts().distributions))
def test_a_system_takes_the_wheels_that_its_glibc_allows(name: str) -> None:
    system = facts().distributions[name]
    judged = judge(Query(framework="torch", version="2.15.0", system=system))
    sure = system.origin.sure_of("glibc")
    too_old = bool(system.glibc) and numbers(system.glibc) < (2, 28)
    assert judged.valid is not (sure and (too_old or system.libc == "musl"))


def test_the_package_index_comes_first() -> None:
    for release, build in RELEASES:
        if build.index == PYPI and build.cuda and build.arch == "x86_64":
            judged = judge(Query(framework=release.framework, version=release.version))
            chosen = judged.combination.build
            assert chosen is None or chosen.index == PYPI, release.version
