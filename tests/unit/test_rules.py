"""Could it exist: one table for each rule."""

from pathlib import Path

import pytest

from dlimg.choose.facts import Facts, parse_facts
from dlimg.choose.matrix import Family, StackChoice
from dlimg.choose.rules import (
    Reason,
    compiler_wheel,
    cuda_build,
    glibc_floor,
    python_at_hand,
    python_wheels,
)
from dlimg.errors import BadInput

FOLDER = Path(__file__).parent.parent.parent / "dlimg/facts"
FACTS: Facts = parse_facts({path.name: path.read_text() for path in sorted(FOLDER.glob("*.yaml"))})


def family(framework: str) -> Family:
    return Family(
        name=framework,
        line=1,
        framework=framework,
        axes={},
        lines={},
        packages={},
        companions={},
        defaults={},
        exclude=(),
        aliases={},
    )


def stack(cuda: str) -> StackChoice:
    return StackChoice(
        name=f"cuda{cuda}",
        line=1,
        python_line=1,
        cuda=cuda,
        cudnn="",
        leader="x==1",
        python="3.13",
        exceptions=(),
    )


def speaks(reason: Reason | None) -> bool:
    """Whether a rule said no; a no without a source is none."""
    return reason is not None and bool(reason.message) and bool(reason.source)


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
def test_python_wheels(framework: str, version: str, python: str, *, impossible: bool) -> None:
    assert speaks(python_wheels(FACTS, family(framework), version, python)) is impossible


@pytest.mark.parametrize(
    ("framework", "version", "cuda", "impossible"),
    [
        ("torch", "2.15.0", "13.2", False),
        ("torch", "2.15.0", "13.0", True),
        ("torch", "2.13.0", "13.0", False),
        ("torch", "2.13.0", "12.9", True),
        ("tensorflow", "2.21.0", "12.9", False),
        ("tensorflow", "2.21.0", "13.2", True),
        ("jax", "0.12.0.1", "12.9", False),
        ("jax", "0.12.0.1", "13.2", False),
        ("jax", "0.12.0.1", "11.8", True),
        ("torch", "99.0", "11.8", False),
    ],
)
def test_cuda_build(framework: str, version: str, cuda: str, *, impossible: bool) -> None:
    assert speaks(cuda_build(FACTS, family(framework), version, stack(cuda))) is impossible
    assert cuda_build(FACTS, family(framework), version, None) is None


@pytest.mark.parametrize(
    ("distribution", "python", "impossible"),
    [
        ("Debian 12", "3.11", False),
        ("Debian 12", "3.13", False),
        ("Debian 12", "3.5", True),
        ("Ubuntu 24.04", "3.7", True),
    ],
)
def test_python_at_hand(distribution: str, python: str, *, impossible: bool) -> None:
    fact = FACTS.distributions[distribution]
    assert speaks(python_at_hand(FACTS, fact, python)) is impossible


@pytest.mark.parametrize(
    ("flavour", "cuda", "impossible"),
    [("devel", "12.9", True), ("devel", "13.2", False), ("compile", "12.9", False)],
)
def test_compiler_wheel(flavour: str, cuda: str, *, impossible: bool) -> None:
    assert speaks(compiler_wheel(FACTS, flavour, stack(cuda))) is impossible
    assert compiler_wheel(FACTS, flavour, None) is None


@pytest.mark.parametrize(
    ("distribution", "platform", "impossible"),
    [
        ("Debian 12", "x86_64-manylinux_2_28", False),
        ("Debian 12", "x86_64-manylinux_2_36", False),
        ("Debian 12", "x86_64-manylinux_2_39", True),
        ("Ubuntu 22.04", "x86_64-manylinux_2_36", True),
        ("Debian 12", "x86_64-unknown-linux-gnu", False),
    ],
)
def test_glibc_floor(distribution: str, platform: str, *, impossible: bool) -> None:
    assert speaks(glibc_floor(FACTS.distributions[distribution], platform)) is impossible


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_a_fact_without_a_source_is_refused(path: Path) -> None:
    text = path.read_text()
    for field in ("source", "checked"):
        lines = text.splitlines(keepends=True)
        first = next(n for n, line in enumerate(lines) if line.startswith(f"    {field}:"))
        with pytest.raises(BadInput, match=f"needs the key '{field}'"):
            parse_facts({path.name: "".join(lines[:first] + lines[first + 1 :])})
