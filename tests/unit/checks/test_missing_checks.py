"""A check that the last evidence of a cell had, and that is gone, is missed."""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.checks.evidence import (
    CheckSet,
    CheckSets,
    LastRun,
    group_by_folder,
    last_evidence,
    missing_before,
    read_evidence,
    read_last_run,
    record_last_run,
    report_missing_checks,
    write_evidence,
)
from dlimg.model import CheckStatus, Evidence, Verdict
from tests.support.image_folders import files_in


def evidence(*checks: str, digest: str = "sha256:1", cell: str = "a-cell") -> Evidence:
    return Evidence(
        digest=digest,
        cell=cell,
        device="none",
        day="2026-11-21",
        dlimg="0.1",
        engine="28.5",
        verdicts=tuple(
            Verdict(check=name, sha256="1", status=CheckStatus.PASSED, reason="", seconds=1)
            for name in checks
        ),
    )


def noted(folder: Path, found: Evidence, sets: CheckSets) -> LastRun | None:
    write_evidence(folder, found, log=print, sets=sets)
    return read_last_run(folder, found.cell, log=print)


def test_the_last_run_of_a_cell_is_recorded(tmp_path: Path) -> None:
    here = str(tmp_path)
    sets = {here: CheckSet(day="2026-11-21", checks=("a", "b"))}
    note = LastRun(cell="a-cell", day="2026-11-21", digest="sha256:1", sets=sets)
    assert noted(tmp_path, evidence("b", "a"), {here: ["b", "a"]}) == note
    write_evidence(tmp_path, evidence("c", cell="another"), log=print)
    assert read_last_run(tmp_path, "a-cell", log=print) == note
    result = noted(tmp_path, evidence("a", digest="sha256:2"), {here: ["a"]})
    assert result == replace(
        note, digest="sha256:2", sets={here: CheckSet(day="2026-11-21", checks=("a",))}
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
def test_missing_checks_are_reported(
    tmp_path: Path, names: Collection[str], gone: tuple[str, ...]
) -> None:
    here = str(tmp_path)
    last = noted(tmp_path, evidence("b", "a"), {here: ["b", "a"]})
    logged: list[str] = []
    assert report_missing_checks(last, {here: names}, log=logged.append) == gone
    assert logged == [f"a-cell  check {name} was there on 2026-11-21 and is gone" for name in gone]
    assert report_missing_checks(None, {here: names}, log=logged.append) == ()
    assert missing_before(last, {here: names}) == ()


def test_each_folder_of_checks_is_compared_only_with_itself(tmp_path: Path) -> None:
    """A user's own checks, given once, and another clone's checks are missed by nobody else."""
    first, second, own = (tmp_path / name for name in ("first", "second", "own"))
    for folder in (first, second, own):
        folder.mkdir()
    noted(tmp_path, evidence("a", "mine"), {str(first): ["a"], str(own): ["mine"]})
    last = noted(tmp_path, evidence("a", "b"), {str(second): ["a", "b"]})
    assert report_missing_checks(last, {str(first): ["a"]}, log=pytest.fail) == ()
    assert report_missing_checks(last, {str(second): ["a", "b"]}, log=pytest.fail) == ()
    logged: list[str] = []
    assert report_missing_checks(last, {str(second): ["b"]}, log=logged.append) == ("a",)
    # Given again, and one of them is not there any more.
    assert report_missing_checks(last, {str(first): ["a"], str(own): []}, log=logged.append) == (
        "mine",
    )
    assert len(logged) == 2


def test_a_check_that_moved_to_another_folder_is_not_gone(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    last = noted(tmp_path, evidence("a"), {str(tmp_path): [], str(own): ["a"]})
    assert report_missing_checks(last, {str(tmp_path): ["a"], str(own): []}, log=pytest.fail) == ()


def test_a_check_stays_missing_until_the_next_verdicts(tmp_path: Path) -> None:
    here = str(tmp_path)
    gone = replace(evidence("a"), vanished=("b",))
    last = noted(tmp_path, gone, {here: ["a"]})
    assert report_missing_checks(last, {here: ["a"]}, log=pytest.fail) == ()
    assert missing_before(last, {here: ["a"]}) == ("b",)
    assert missing_before(last, {here: ["a", "b"]}) == ()
    assert missing_before(last, {"/elsewhere": ["a"]}) == ()
    last = noted(tmp_path, evidence("a"), {here: ["a"]})
    assert missing_before(last, {here: ["a"]}) == ()


def test_a_foreign_image_is_not_recorded_as_last_run(tmp_path: Path) -> None:
    last = noted(tmp_path, evidence("a"), {str(tmp_path): ["a"]})
    foreign = evidence("a", digest="sha256:2")
    write_evidence(tmp_path, foreign, log=pytest.fail, sets=None)
    record_last_run(tmp_path, foreign, log=pytest.fail, sets=None)
    assert read_last_run(tmp_path, "a-cell", log=pytest.fail) == last
    assert read_evidence(tmp_path, "sha256:2", log=pytest.fail) == (foreign,)


def test_a_run_without_new_verdicts_is_recorded(tmp_path: Path) -> None:
    write_evidence(tmp_path, evidence("a"), log=pytest.fail)
    record_last_run(tmp_path, evidence("a"), log=pytest.fail, sets={str(tmp_path): ["a"]})
    last = read_last_run(tmp_path, "a-cell", log=pytest.fail)
    assert last is not None
    assert report_missing_checks(last, {str(tmp_path): []}, log=lambda _: None) == ("a",)


def test_a_folder_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    noted(tmp_path, evidence("a"), {str(clone): ["a"]})
    clone.rmdir()
    last = noted(tmp_path, evidence("a"), {str(tmp_path): ["a"]})
    assert last is not None
    assert list(last.sets) == [str(tmp_path)]


def test_checks_by_the_folder_that_they_come_from(tmp_path: Path) -> None:
    scripts = {"common/checks/a.py": b"", "own/checks/mine.py": b"", "jax/checks/b.py": b""}
    images, own = tmp_path / "images", tmp_path / "own"
    assert group_by_folder(["mine", "b", "a"], scripts, files_in(images), own) == {
        str(images): ("a", "b"),
        str(own): ("mine",),
    }
    assert group_by_folder(["b", "a"], scripts, files_in(images), None) == {str(images): ("a", "b")}


def test_a_record_of_format_1_has_only_the_digest(tmp_path: Path) -> None:
    write_evidence(tmp_path, evidence("a"), log=print)
    old = {"format": 1, "cell": "a-cell", "day": "2026-11-20", "digest": "sha256:1"}
    path = tmp_path / "last" / "a-cell.json"
    path.write_text(json.dumps({**old, "checks": ["a", "b"]}))
    last = read_last_run(tmp_path, "a-cell", log=pytest.fail)
    assert last == LastRun(cell="a-cell", day="2026-11-20", digest="sha256:1", sets={})
    assert report_missing_checks(last, {str(tmp_path): ["a"]}, log=pytest.fail) == ()
    assert last_evidence(tmp_path, "a-cell", log=pytest.fail) == (evidence("a"),)


def test_a_last_run_before_schema_3_has_former_names(tmp_path: Path) -> None:
    sets = {str(tmp_path): {"day": "2026-11-20", "checks": ["manners_tls", "b"], "gone": []}}
    old = {"format": 2, "cell": "bare-jax", "day": "2026-11-20", "digest": "", "sets": sets}
    path = tmp_path / "last" / "bare-jax.json"
    path.parent.mkdir()
    path.write_text(json.dumps(old))
    last = read_last_run(tmp_path, "host-jax", log=pytest.fail)
    assert last is not None
    assert last.sets[str(tmp_path)].checks == ("b", "runtime_tls")
    current = {str(tmp_path): ["b", "runtime_tls"]}
    assert report_missing_checks(last, current, log=pytest.fail) == ()


def damaged(**changes: object) -> str:
    good = {"format": 2, "cell": "a-cell", "day": "", "digest": "", "sets": {}}
    return json.dumps({**good, **changes})


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
        damaged(format=3),
        damaged(cell="x"),
        damaged(day=7),
        damaged(sets=7),
        damaged(sets=[7]),
        damaged(sets={"/x": 7}),
        damaged(sets={"/x": {"day": "", "checks": 7, "gone": []}}),
        damaged(sets={"/x": {"day": "", "checks": "ab", "gone": []}}),
        damaged(sets={"/x": {"day": "", "checks": [7], "gone": []}}),
        damaged(sets={"/x": {"day": "", "checks": [], "gone": "ab"}}),
        damaged(sets={"/x": {"day": 7, "checks": [], "gone": []}}),
    ],
)
def test_a_damaged_last_run_is_logged_and_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "last" / "a-cell.json"
    path.parent.mkdir()
    path.write_text(text)
    logged: list[str] = []
    assert read_last_run(tmp_path, "a-cell", log=logged.append) is None
    assert len(logged) == 1
    assert str(path) in logged[0]
    write_evidence(tmp_path, evidence("a"), log=pytest.fail)
    assert read_last_run(tmp_path, "a-cell", log=pytest.fail)


def test_last_evidence_is_of_the_last_image(tmp_path: Path) -> None:
    assert last_evidence(tmp_path, "a-cell", log=print) == ()
    old = evidence("a", digest="sha256:1")
    new = [
        replace(evidence("a", digest="sha256:2"), device=device, day=day)
        for device, day in (("none", "2026-11-22"), ("nvidia", "2026-11-23"))
    ]
    for one in (old, *new):
        write_evidence(tmp_path, one, log=print)
    assert last_evidence(tmp_path, "a-cell", log=print) == (new[1], new[0])
    assert last_evidence(tmp_path, "another", log=print) == ()
