"""The back catalogue: its rows agree with `why` and `list`, and its page with its rows."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from functools import cache
from pathlib import Path

import pytest
from packaging.version import Version

from dlimg.errors import BadInput
from dlimg.lock.solve import NoSolution
from dlimg.pipeline.catalogue import (
    CatalogueQuestion,
    CatalogueRow,
    index_versions,
    matrix_of,
    questions,
    short_reason,
)
from dlimg.pipeline.catalogue_agreement import disagreements
from dlimg.pipeline.catalogue_run import kept_rows
from dlimg.pipeline.facts_files import read_facts
from dlimg.report.catalogue import BUILT, catalogue_json, catalogue_page, parse_catalogue
from tests.support import samples

ROOT = Path(__file__).parents[3]
TODAY = date(2026, 11, 29)


@cache
def committed() -> tuple[str, tuple[CatalogueRow, ...]]:
    return parse_catalogue((ROOT / "docs/catalogue.json").read_text(), source="catalogue.json")


def row_of(requirement: str, python: str) -> CatalogueRow:
    rows = committed()[1]
    return next(row for row in rows if (row.requirement, row.python) == (requirement, python))


def found(rows: Sequence[CatalogueRow]) -> list[str]:
    return list(disagreements(rows, read_facts(), samples.FRAMEWORKS, TODAY))


def test_why_and_list_agree_with_every_row() -> None:
    assert found(committed()[1]) == []


@pytest.mark.parametrize(
    ("requirement", "python", "works"),
    [
        ("tensorflow[and-cuda]==2.15.0", "3.11", False),
        ("tensorflow[and-cuda]==2.15.1", "3.11", True),
        ("tensorflow[and-cuda]==2.14.1", "3.11", False),
        ("tensorflow[and-cuda]==2.12.0", "3.11", False),
        ("jax[cuda12]==0.4.22", "3.11", False),
        ("jax[cpu]==0.4.32", "3.11", False),
        ("torch==2.0.0", "3.11", True),
        ("torch==2.0.0", "3.13", False),
    ],
)
def test_a_verdict_turned_round_is_a_disagreement(
    requirement: str, python: str, *, works: bool
) -> None:
    row = row_of(requirement, python)
    assert row.works is works
    sentences = found([replace(row, works=not works)])
    assert ["; why: " in sentence for sentence in sentences] == [True, False]
    assert ["; list: " in sentence for sentence in sentences] == [False, True]


def test_every_release_of_the_facts_has_its_rows() -> None:
    facts = read_facts()
    rows = committed()[1]
    for framework in facts.frameworks.values():
        oldest = Version(framework.catalogue_from)
        known = {
            version
            for version in facts.releases[framework.name]
            if Version(version) >= oldest and not Version(version).is_prerelease
        }
        asked = {
            (question.requirement, question.python)
            for question in questions(facts, framework, sorted(known))
        }
        own = [row for row in rows if row.framework == framework.name]
        assert {(row.requirement, row.python) for row in own} == asked


def test_the_page_is_that_of_the_rows() -> None:
    day, rows = committed()
    page = (ROOT / "docs/catalogue.md").read_text()
    _, mark, built = page.partition(BUILT)
    assert page == catalogue_page(rows, day, mark + built), "run `nox -s catalogue`"
    assert (ROOT / "docs/catalogue.json").read_text() == catalogue_json(rows, day)


def test_a_file_that_is_no_catalogue() -> None:
    for text in ("", "[]", '{"checked": "2026-11-29"}', '{"checked": "x", "rows": [{"a": 1}]}'):
        with pytest.raises(BadInput, match="this is no catalogue"):
            parse_catalogue(text, source="catalogue.json")


def test_releases_are_final_ones_of_any_file() -> None:
    files = (
        "jax-0.4.14.tar.gz",
        "jax-0.4.13-py3-none-any.whl",
        "jax-0.4.20-py3-none-any.whl",
        "jax-0.5.0rc1-py3-none-any.whl",
        "jax-0.4.20.tar.gz",
        "jax.exe",
    )
    assert index_versions(files, "0.4.14") == ("0.4.14", "0.4.20")


def test_what_is_asked_about_a_release() -> None:
    facts = read_facts()
    asked = {
        name: list(questions(facts, facts.frameworks[name], [version]))
        for name, version in (("torch", "2.0.0"), ("tensorflow", "2.15.0"), ("jax", "0.4.25"))
    }
    assert {name: [each.requirement for each in some] for name, some in asked.items()} == {
        "torch": ["torch==2.0.0"] * 2,
        "tensorflow": [
            *["tensorflow-cpu==2.15.0"] * 2,
            *["tensorflow[and-cuda]==2.15.0"] * 2,
        ],
        "jax": [
            *["jax[cpu]==0.4.25"] * 2,
            *["jax[cuda12]==0.4.25"] * 2,
            *["jax[cuda13]==0.4.25"] * 2,
        ],
    }
    assert [(each.python, each.os) for each in asked["torch"]] == [
        ("3.11", "debian12"),
        ("3.13", "debian13"),
    ]


def test_a_release_is_tried_in_a_matrix_of_its_own() -> None:
    question = CatalogueQuestion(
        framework="torch",
        version="2.2.2",
        accelerator="cuda",
        requirement="torch==2.2.2",
        python="3.11",
        os="debian12",
    )
    matrix = matrix_of(question, "12.1", read_facts(), samples.FRAMEWORKS)
    assert not matrix.problems
    assert matrix.stacks["cuda12.1"].leader == "torch=={version}"
    assert matrix.families["pytorch"].packages == {"cuda12": ("torch=={version}",)}


def test_a_reason_is_the_first_sentence_of_uv() -> None:
    text = (
        "no versions fit together; uv says: Because tensorrt==8.6.1 has no usable wheels and "
        "tensorflow depends on it, we can conclude that it cannot be used. And because more."
    )
    expected = "tensorrt==8.6.1 has no usable wheels and tensorflow depends on it"
    assert short_reason(NoSolution(text)) == expected
    assert short_reason(BadInput("no CUDA libraries come with it")) == (
        "no CUDA libraries come with it"
    )


def test_rows_of_an_interrupted_run_are_kept_without_the_line_that_was_cut_off(
    tmp_path: Path,
) -> None:
    row = row_of("torch==2.0.0", "3.11")
    path = tmp_path / "today.jsonl"
    assert kept_rows(path) == {}
    line = json.dumps(["torch", asdict(row)])
    path.write_text(f"{line}\n{line[:40]}")
    assert kept_rows(path) == {"torch": row}
