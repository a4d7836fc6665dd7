"""A check that the last evidence of a cell had, and that is gone, is missed."""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.proof import Evidence, Status, Verdict
from dlimg.smoke.evidence import last_evidence, write_evidence
from dlimg.smoke.last import Last, read_last, vanished


def evidence(*checks: str, digest: str = "sha256:1", cell: str = "a-cell") -> Evidence:
    return Evidence(
        digest=digest,
        cell=cell,
        device="none",
        day="2026-11-21",
        dlimg="0.1",
        engine="28.5",
        verdicts=tuple(
            Verdict(check=name, sha256="1", status=Status.PASSED, reason="", seconds=1)
            for name in checks
        ),
    )


def test_the_last_evidence_of_a_cell_is_noted(tmp_path: Path) -> None:
    write_evidence(tmp_path, evidence("b", "a"), say=print)
    write_evidence(tmp_path, evidence("c", cell="another"), say=print)
    note = Last(cell="a-cell", day="2026-11-21", digest="sha256:1", checks=("a", "b"))
    assert read_last(tmp_path, "a-cell", say=print) == note
    write_evidence(tmp_path, evidence("a", digest="sha256:2"), say=print)
    assert read_last(tmp_path, "a-cell", say=print) == replace(
        note, digest="sha256:2", checks=("a",)
    )


@pytest.mark.parametrize(
    ("names", "gone"),
    [
        (("a", "b"), ()),
        (("a", "b", "new"), ()),
        (("a",), ("b",)),
        (("new",), ("a", "b")),
        ((), ("a", "b")),
    ],
)
def test_what_is_gone_is_told_of(
    tmp_path: Path, names: Collection[str], gone: tuple[str, ...]
) -> None:
    write_evidence(tmp_path, evidence("b", "a"), say=print)
    said: list[str] = []
    assert vanished(tmp_path, "a-cell", names, say=said.append) == gone
    assert said == [f"a-cell  check {name} was there on 2026-11-21 and is gone" for name in gone]
    assert vanished(tmp_path, "another", names, say=said.append) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        "[" * 100_000,
        json.dumps({"format": 2, "cell": "a-cell"}),
        json.dumps({"format": 1, "cell": "x", "day": "", "digest": "", "checks": []}),
        json.dumps({"format": 1, "cell": "a-cell", "day": "", "digest": "", "checks": 7}),
        json.dumps({"format": 1, "cell": "a-cell", "day": "", "digest": "", "checks": "ab"}),
        json.dumps({"format": 1, "cell": "a-cell", "day": "", "digest": "", "checks": [7]}),
        json.dumps({"format": 1, "cell": "a-cell", "day": 7, "digest": "", "checks": []}),
    ],
)
def test_a_damaged_note_is_told_of_and_harms_nobody(tmp_path: Path, text: str) -> None:
    path = tmp_path / "last" / "a-cell.json"
    path.parent.mkdir()
    path.write_text(text)
    said: list[str] = []
    assert vanished(tmp_path, "a-cell", ["a"], say=said.append) == ()
    assert len(said) == 1
    assert str(path) in said[0]
    write_evidence(tmp_path, evidence("a"), say=print)
    assert read_last(tmp_path, "a-cell", say=print)


def test_what_is_known_of_a_cells_last_image(tmp_path: Path) -> None:
    assert last_evidence(tmp_path, "a-cell", say=print) == ()
    old = evidence("a", digest="sha256:1")
    new = [
        replace(evidence("a", digest="sha256:2"), device=device, day=day)
        for device, day in (("none", "2026-11-22"), ("nvidia", "2026-11-23"))
    ]
    for one in (old, *new):
        write_evidence(tmp_path, one, say=print)
    assert last_evidence(tmp_path, "a-cell", say=print) == (new[1], new[0])
    assert last_evidence(tmp_path, "another", say=print) == ()
