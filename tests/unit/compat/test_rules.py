"""Rules about an image alone, and their helpers: a table for each."""

from pathlib import Path

import pytest

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, failing_stage, refusals, refuse, warn, worst_first
from dlimg.compat.rules_image import compiler_wheel, python_source
from dlimg.compat.rules_wheel import cuda_build, locked_wheels, platform_tag, python_wheel
from dlimg.compat.wheel_tags import admits, glibc_floor_of, misfits
from dlimg.document.versions import begins_with, driver_numbers, numbers
from dlimg.errors import BadInput
from dlimg.facts.gpus import code_for
from dlimg.facts.model import PYPI
from tests.support import samples
from tests.support.facts import parse_facts
from tests.support.why_tables import facts

FOLDER = Path(__file__).parents[3] / "dlimg/facts"


def is_refusal(reason: RuleResult | None) -> bool:
    """Return whether a rule refused; a refusal needs a message and a source."""
    assert reason is None or (reason.message and reason.source)
    return reason is not None and bool(refusals([reason]))


def of_release(framework: str, version: str, cuda: str = "", python: str = "") -> Combination:
    release = facts().releases.get(framework, {}).get(version)
    builds = release.builds_for(cuda) if release else ()
    return Combination(
        framework=framework,
        version=version,
        release=release,
        build=next((build for build in builds if build.index == PYPI), None),
        cuda=cuda,
        python=python,
    )


@pytest.mark.parametrize(
    ("framework", "version", "python", "impossible"),
    [
        ("jax", "0.12.0.1", "3.11", True),
        ("jax", "0.12.0.1", "3.12", False),
        ("jax", "0.10.2", "3.11", False),
        ("torch", "2.15.0", "3.10", True),
        ("torch", "2.15.0", "3.15", False),
        ("torch", "2.14.1", "3.15", True),
        ("tensorflow", "2.21.0", "3.14", True),
        ("tensorflow", "2.21.0", "3.13", False),
        ("torch", "99.0", "3.10", False),
        ("mxnet", "1.0", "2.7", False),
    ],
)
def test_python_wheel(framework: str, version: str, python: str, *, impossible: bool) -> None:
    combination = of_release(framework, version, python=python)
    assert is_refusal(python_wheel(facts(), combination)) is impossible


@pytest.mark.parametrize(
    ("framework", "version", "cuda", "impossible"),
    [
        ("torch", "2.15.0", "13.2", False),
        ("torch", "2.13.0", "13.0", False),
        ("torch", "2.13.0", "12.8", True),
        ("tensorflow", "2.21.0", "12.9", False),
        ("tensorflow", "2.21.0", "13.2", True),
        ("jax", "0.12.0.1", "12.9", False),
        ("jax", "0.12.0.1", "13.2", False),
        ("jax", "0.12.0.1", "11.8", True),
        ("torch", "99.0", "11.8", False),
    ],
)
def test_cuda_build(framework: str, version: str, cuda: str, *, impossible: bool) -> None:
    assert is_refusal(cuda_build(facts(), of_release(framework, version, cuda))) is impossible


@pytest.mark.parametrize(
    ("distribution", "python", "impossible"),
    [
        ("Debian 12", "3.11", False),
        ("Debian 12", "3.13", False),
        ("Debian 12", "3.5", True),
        ("Ubuntu 24.04", "3.7", True),
        ("Ubuntu 18.04", "3.6", False),
        ("Debian 13", "3.13t", True),
    ],
)
def test_python_source(distribution: str, python: str, *, impossible: bool) -> None:
    system = facts().distributions[distribution]
    combination = Combination(framework="torch", version="", distribution=system, python=python)
    assert is_refusal(python_source(facts(), combination)) is impossible


@pytest.mark.parametrize(
    ("flavour", "cuda", "impossible"),
    [
        ("devel", "12.9", True),
        ("devel", "13.2", False),
        ("compile", "12.9", False),
        ("devel", "", False),
    ],
)
def test_compiler_wheel(flavour: str, cuda: str, *, impossible: bool) -> None:
    combination = Combination(framework="torch", version="", flavour=flavour, cuda=cuda)
    assert is_refusal(compiler_wheel(facts(), combination)) is impossible


@pytest.mark.parametrize(
    ("distribution", "platform", "impossible"),
    [
        ("Debian 12", "x86_64-manylinux_2_28", False),
        ("Debian 12", "x86_64-manylinux_2_36", False),
        ("Debian 12", "x86_64-manylinux_2_39", True),
        ("Ubuntu 22.04", "x86_64-manylinux_2_36", True),
        ("Debian 12", "x86_64-unknown-linux-gnu", False),
        ("Alpine 3", "x86_64-manylinux_2_17", True),
        ("CentOS 7", "x86_64-manylinux_2_28", True),
    ],
)
def test_platform_tag(distribution: str, platform: str, *, impossible: bool) -> None:
    system = facts().distributions[distribution]
    combination = Combination(framework="jax", version="", distribution=system, platform=platform)
    assert is_refusal(platform_tag(facts(), combination)) is impossible


@pytest.mark.parametrize(
    ("architectures", "capability", "code"),
    [
        # A cubin runs on its own major, on an equal or higher minor.
        (["sm_80"], "8.6", "sm_80"),
        (["sm_80", "sm_86"], "8.9", "sm_86"),
        (["sm_86"], "8.0", ""),
        (["sm_80"], "9.0", ""),
        (["sm_60"], "6.1", "sm_60"),
        (["sm_100"], "10.3", "sm_100"),
        (["sm_100"], "12.0", ""),
        (["sm_120"], "12.1", "sm_120"),
        (["sm_37"], "3.5", ""),
        # PTX goes forward, over majors, never back.
        (["compute_80"], "9.0", "compute_80"),
        (["compute_90"], "12.0", "compute_90"),
        (["compute_90"], "8.9", ""),
        (["sm_90", "compute_90"], "9.0", "sm_90"),
        (["sm_80", "compute_70", "compute_80"], "9.0", "compute_80"),
        # `a` is for just that capability, `f` for its family.
        (["sm_90a"], "9.0", "sm_90a"),
        (["sm_90a"], "10.0", ""),
        (["compute_90a"], "10.0", ""),
        (["sm_100a"], "10.3", ""),
        (["sm_100f"], "10.3", "sm_100f"),
        (["compute_100f"], "12.0", ""),
        (["no_such"], "9.0", ""),
        ([], "9.0", ""),
    ],
)
def test_the_code_that_a_gpu_runs(architectures: list[str], capability: str, code: str) -> None:
    nearest = code_for(architectures, capability)
    assert (nearest.name if nearest else "") == code


@pytest.mark.parametrize(
    ("pin", "version", "taken"),
    [
        ("9.1.0.70", "9", True),
        ("9.1.0.70", "9.1", True),
        ("9.10.2.21", "9.1", False),
        ("<13.0,>=12.5.82", "12.5", True),
        ("<13.0,>=12.5.82", "12.4", False),
        ("<13.0,>=12.5.82", "12.9", True),
        ("<13.0,>=12.5.82", "13.0", False),
        ("<12.9,>=12.1.3.1", "12.9", False),
        ("<12.9,>=12.1.3.1", "12.8", True),
        ("<10.0,>=9.12.0.46", "9.10", False),
        ("<10.0,>=9.12.0.46", "9.12", True),
        (">=12.1.105", "12.0", False),
    ],
)
def test_versions_that_a_fact_admits(pin: str, version: str, *, taken: bool) -> None:
    assert admits(pin, version) is taken


@pytest.mark.parametrize(
    ("file", "python", "glibc", "fits"),
    [
        (
            "numpy-2.5.5-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
            "3.12",
            "2.36",
            1,
        ),
        (
            "numpy-2.5.5-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
            "3.12",
            "2.27",
            1,
        ),
        ("numpy-2.5.5-cp312-cp312-manylinux_2_28_x86_64.whl", "3.12", "2.27", 0),
        ("numpy-2.5.5-cp312-cp312-manylinux_2_28_x86_64.whl", "3.13", "2.36", 0),
        ("numpy-2.5.5-cp312-cp312-manylinux_2_28_aarch64.whl", "3.12", "2.36", 0),
        ("numpy-2.5.5-cp312-cp312-musllinux_1_2_x86_64.whl", "3.12", "2.36", 0),
        ("torch-2.0.0-cp310-cp310-manylinux1_x86_64.whl", "3.10", "2.31", 1),
        ("nvidia_nccl-2.30-py3-none-manylinux2014_x86_64.whl", "3.13", "2.28", 1),
        ("tensorrt-1-cp39-abi3-manylinux_2_17_x86_64.whl", "3.13", "2.28", 1),
        ("jax-0.12.0.1-py3-none-any.whl", "3.13", "2.28", 1),
    ],
)
def test_packages_that_do_not_fit(file: str, python: str, glibc: str, fits: int) -> None:
    assert misfits([file], python, "x86_64", glibc) == (() if fits else (file,))


def test_a_locked_wheel_outranks_the_facts() -> None:
    wheel = samples.wheel(file="numpy-2.5.5-cp312-cp312-manylinux_2_39_x86_64.whl")
    lock = samples.lock(wheels=(wheel,))
    system = facts().distributions["Debian 12"]
    combination = Combination(
        framework="torch", version="", distribution=system, python="3.12", wheels=lock
    )
    reason = locked_wheels(facts(), combination)
    assert is_refusal(reason)
    assert reason is not None
    assert "the lock" in reason.source


def test_the_first_stage_that_fails_comes_first() -> None:
    results = (
        refuse("b", "runtime", "b", "s"),
        warn("w", "w", "s"),
        refuse("a", "install", "a", "s"),
        refuse("d", "install", "d", "s", certain=False),
    )
    assert failing_stage(results) == "install"
    assert [result.rule for result in worst_first(results)] == ["a", "b", "w", "d"]
    assert [result.rule for result in refusals(results)] == ["b", "a"]
    assert failing_stage([results[3]]) is None


def test_version_numbers_are_compared_as_numbers() -> None:
    assert numbers("550.54.15") > numbers("550.54.9")
    assert numbers("2.0.0b1") == (2, 0, 0)
    assert driver_numbers("550") > driver_numbers("550.163.01")
    assert driver_numbers("550") < driver_numbers("555.42")
    assert begins_with("9.1.0", "9.1")
    assert not begins_with("9.10.2", "9.1")
    assert glibc_floor_of("x86_64-manylinux_2_28") == "2.28"
    assert glibc_floor_of("manylinux1") == ""


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_a_fact_without_a_source_is_refused(path: Path) -> None:
    text = path.read_text()
    for field in ("source", "checked"):
        lines = text.splitlines(keepends=True)
        first = next(n for n, line in enumerate(lines) if line.startswith(f"    {field}:"))
        with pytest.raises(BadInput, match=f"needs the key '{field}'"):
            parse_facts({path.name: "".join(lines[:first] + lines[first + 1 :])})
