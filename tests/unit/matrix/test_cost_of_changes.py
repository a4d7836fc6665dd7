"""The number of lines that a change of the committed matrix takes."""

from collections.abc import Mapping
from pathlib import Path

from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.pipeline.facts_files import read_facts

ROOT = Path(__file__).parents[3]
FACTS = read_facts()
MATRIX = (ROOT / "matrix.yaml").read_text()


def with_line(line: str, *, instead_of: str = "", after: str = "") -> str:
    """The committed matrix with one line more, or another line."""
    old = instead_of or after
    assert MATRIX.count(f"{old}\n") == 1
    return MATRIX.replace(f"{old}\n", f"{line}\n" if instead_of else f"{after}\n{line}\n")


def resolved(text: str) -> Resolution:
    return resolve(parse_matrix(text, "matrix.yaml"), FACTS)


def stacks_of(resolution: Resolution) -> Mapping[str, str]:
    """The lock of each cell's stack by cell id."""
    return {cell.id: cell.stack.lock_name for cell in resolution.cells if cell.stack}


BEFORE = resolved(MATRIX)
UBUNTU = '  ubuntu24.04: {distribution: Ubuntu 24.04, image: "ubuntu:noble"}'


def test_another_operating_system_is_one_line() -> None:
    line = '  ubuntu26.04: {distribution: Ubuntu 26.04, image: "ubuntu:resolute"}'
    after = resolved(with_line(line, after=UBUNTU))
    new = [cell for cell in after.cells if cell not in BEFORE.cells]
    assert set(BEFORE.cells) <= set(after.cells)
    assert after.groups["default"] == BEFORE.groups["default"]
    assert {(cell.os.name, cell.python, cell.managed_python) for cell in new} == {
        ("ubuntu26.04", "3.14", "")
    }
    assert {cell.family for cell in new} >= {"pytorch", "jax"}


def test_another_torch_on_a_cuda_that_is_there_is_one_line() -> None:
    after = resolved(
        with_line(
            "      version: [2.15.0, 2.14.1, 2.13.0, 2.9.1, 2.7.1, 2.0.1]",
            instead_of="      version: [2.15.0, 2.13.0, 2.9.1, 2.7.1, 2.0.1]",
        )
    )
    new = [cell for cell in after.cells if cell not in BEFORE.cells]
    assert set(BEFORE.cells) <= set(after.cells)
    assert {cell.id for cell in new} == {
        "pytorch-2.14.1-cuda13.0-py3.11-debian12",
        "pytorch-2.14.1-cuda13.0-py3.12-debian13",
        "pytorch-2.14.1-cuda13.0-py3.12-ubuntu24.04",
        "pytorch-2.14.1-cuda13.0-py3.13-debian13",
    }
    assert {cell.stack.lock_name for cell in new if cell.stack} == {"cuda13.0-torch2.14.1"}
    assert stacks_of(after).items() >= stacks_of(BEFORE).items()
