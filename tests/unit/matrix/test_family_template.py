"""A family of one matrix as it is written into another: all that adds to its images."""

from dlimg.matrix.add import NewCell, add_cell
from dlimg.matrix.family_template import family_template, ignored_for_libraries, written_additions
from dlimg.matrix.model import IgnoredFinding
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.pipeline.facts_files import read_facts
from tests.support import samples
from tests.support.matrix_to_edit import MATRIX

FACTS = read_facts()
OTHER = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
stacks:
  cuda13.2-own:
    cuda: "13.2"
    leader: torch=={version}
    python: "3.13"
    exceptions:
      - {package: cuda-core, why: "numbered 'by itself'"}
families:
  leader:
    framework: torch
    axes: {version: [2.15.0], accelerator: [cuda13.2-own], flavour: [runtime]}
    packages: {cuda13: ["torch=={version}"]}
  own: # a family with all that there is
    framework: none
    axes: {version: ["1.0"], accelerator: [cuda13.2-own], flavour: [runtime]}
    packages: {cuda13: ["own-cu13=={version}"], any: [numpy]}
    env: # two variables
      OWN_PATH:
        value: /opt/env
        why: "it looks nowhere else" # by itself
      OWN_LEVEL: {value: "3", why: "less is slow"}
    apt: {any: [libgl1]}
    build: [jieba]
    ports: {any: [8000]}
    files: [{source: a.txt, path: /etc/a.txt}]
    path_exceptions:
      - {path: "nvidia/x", why: "a comment"}
    defaults: {python: "3.13", os: debian13}
"""
ADDITIONS = """\
env: # two variables
  OWN_PATH:
    value: /opt/env
    why: "it looks nowhere else" # by itself
  OWN_LEVEL: {value: "3", why: "less is slow"}
apt: {any: [libgl1]}
build: [jieba]
ports: {any: [8000]}
path_exceptions:
  - {path: "nvidia/x", why: "a comment"}"""


def test_additions_are_taken_as_they_are_written_without_files() -> None:
    assert written_additions(OTHER, "own") == ADDITIONS
    assert written_additions(OTHER, "leader") == ""


def test_a_new_family_has_them_and_a_stack_with_the_exact_leader() -> None:
    matrix = parse_matrix(OTHER, "other.yaml")
    (cell,) = (cell for cell in resolve(matrix, FACTS).cells if cell.family == "own")
    template = family_template(OTHER, matrix, cell)
    assert template.packages == {"cuda13": ("own-cu13=={version}",), "any": ("numpy",)}
    new = NewCell(
        family="own",
        framework="none",
        version="1.0",
        cuda="13.2",
        python="3.13",
        system=FACTS.distributions["Debian 13"],
        flavour="runtime",
        template=template,
    )
    text, point = add_cell(MATRIX, "matrix.yaml", FACTS, new)
    added = parse_matrix(text, "matrix.yaml")
    family, stack = added.families["own"], added.stacks["cuda13.2-own"]
    assert point.accelerator == "cuda13.2-own"
    assert stack.leader == "torch==2.15.0"
    assert stack.exceptions == matrix.stacks["cuda13.2-own"].exceptions
    assert [each.variable for each in family.env] == [
        each.variable for each in matrix.families["own"].env
    ]
    assert family.additions.apt == {"any": ("libgl1",)}
    assert family.additions.build == ("jieba",)
    assert family.additions.files == ()
    assert "# by itself" in text


def test_what_is_ignored_about_libraries_is_for_wheels_of_the_locks() -> None:
    numba, cv2 = (
        IgnoredFinding(line=1, id="system-library", about=about, why="x")
        for about in ("*numba*", "opencv*")
    )
    other = IgnoredFinding(line=1, id="same-path", about="*", why="x")
    lock = samples.lock("own", wheels=(samples.wheel("numba", "1.0"),))
    assert ignored_for_libraries((numba, cv2, other), [lock]) == (numba,)
