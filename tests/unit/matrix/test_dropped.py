"""Combinations that drop: each says why, also where none is left."""

from pathlib import Path

import pytest

from dlimg.cli.main import main
from dlimg.errors import BadInput
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.pipeline.facts_files import read_facts

FACTS = read_facts()
# Nothing of it can exist, and everything else in it fits no cell because of that.
NOTHING_LEFT = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
stacks:
  cuda12.9: {cuda: "12.9", leader: "jax[cuda12]=={version}", python: "3.13"}
exclude:
  - {accelerator: cuda12.9, flavour: compile, why: "nobody asked for it"}
required_checks: {compile: [compiled_step]}
families:
  jax:
    framework: jax
    axes:
      version: [0.4.30]
      accelerator: [cpu, cuda12.9]
      python: ["3.13"]
      flavour: [runtime, compile]
    packages: {cpu: ["jax=={version}"], cuda12: ["jax[cuda12]=={version}"]}
    defaults: {python: "3.13", os: debian13}
    env: {XLA_FLAGS: {value: "-x", why: y}}
    exclude:
      - {accelerator: cpu, flavour: compile, why: "nobody asked for it"}
    aliases: {latest: {accelerator: cpu, flavour: runtime}}
groups: {default: [{}], cpu: [{accelerator: cpu}]}
"""
DROPPED = "jax-0.4.30-cpu-py3.13-debian13"
NO_WHEEL = "jax 0.4.30 has no wheel for Python 3.13 (it has 3.9, 3.10, 3.11, 3.12)"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "matrix.yaml").write_text(NOTHING_LEFT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "command",
    [["list"], ["build"], ["test"], ["lock"], ["lint"], ["plan"], ["render"], ["show", DROPPED]],
    ids=" ".join,
)
def test_a_command_for_cells_says_in_one_problem_why_none_is_left(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"dlimg: matrix.yaml: no cell is left, all 4 combinations drop: {NO_WHEEL}\n"
        "  hint: `dlimg list --dropped` names each, and `dlimg why CELL` what works instead\n"
    )


@pytest.mark.usefixtures("project")
def test_the_dropped_are_listed_where_none_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--dropped"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == [
        DROPPED,
        f"{DROPPED}-compile",
        "jax-0.4.30-cuda12.9-py3.13-debian13",
        "jax-0.4.30-cuda12.9-py3.13-debian13-compile",
    ]
    assert {row[1] for row in rows} == {NO_WHEEL}


@pytest.mark.usefixtures("project")
def test_why_answers_where_none_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", DROPPED]) == 1
    text = capsys.readouterr().out
    assert text.startswith(f"{DROPPED}: it fails at install\n")
    assert NO_WHEEL in text
    assert "jax 0.4.30 -> 0.4.34" in text
    assert "jax==0.4.30, CPU, Python 3.12, Debian 13\n       Python 3.13 -> 3.12\n" in text
    assert "CUDA" not in text


def test_an_error_of_the_file_is_told_where_none_is_left() -> None:
    text = NOTHING_LEFT.replace("why: y", "wy: y")
    with pytest.raises(BadInput) as caught:
        resolve(parse_matrix(text, "matrix.yaml"), FACTS)
    messages = [problem.message for problem in caught.value.problems]
    assert messages[0] == "XLA_FLAGS in env of family jax does not say why"
    assert all("XLA_FLAGS" in message for message in messages)


def test_what_fits_only_dropped_combinations_says_why_they_drop() -> None:
    text = NOTHING_LEFT.replace("[0.4.30]", "[0.4.30, 0.4.38]")
    text = text.replace("required_checks: {compile: [compiled_step]}\n", "")
    text = text.replace("groups: {", "groups: {old: [{version: 0.4.30}], ")
    text = text.replace("aliases: {", "aliases: {old: {version: 0.4.30, flavour: runtime}, ")
    text = text.replace("families:", "  \nfamilies:").replace(
        "stacks:", '  debian12: {distribution: Debian 12, image: "debian:bookworm-slim"}\nstacks:'
    )
    text = text.replace("exclude:\n", 'exclude:\n  - {os: debian12, why: "too old"}\n', 1)
    with pytest.raises(BadInput) as caught:
        resolve(parse_matrix(text, "matrix.yaml"), FACTS)
    reasons = f"all its combinations drop: {NO_WHEEL}"
    unused = "remove it, or put a family on it"
    assert [(each.message, each.hint) for each in caught.value.problems] == [
        ("family jax: the alias 'old' matches no cell", reasons),
        ("group old: this matches no cell", reasons),
        (
            "no cell uses the operating system debian12",
            f"{unused}; {reasons}; too old; nobody asked for it",
        ),
    ]
