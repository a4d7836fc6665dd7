"""Evidence: kept for each digest, script and device; used again only while it holds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.model import Check, Evidence, Status, Verdict
from dlimg.smoke.evidence import (
    evidence_folder,
    evidence_text,
    parse_evidence,
    read_evidence,
    reusable,
    write_evidence,
)
from dlimg.smoke.scripts import ROOT, placed

DIGEST = "sha256:" + "a" * 64
CDI = "nvidia.com/gpu=all"
CHECK = Check(name="learns", path="x.py", script="", sha256="1", proves="", seconds=5)


def ran(status: Status = Status.PASSED, *, sha256: str = "1", needs: str = "") -> Verdict:
    return Verdict(
        check="learns",
        sha256=sha256,
        status=status,
        reason="so",
        seconds=1.5,
        figures={"loss": [2.0, 1.0]},
        output="printed",
        needs=frozenset({needs} - {""}),
    )


def kept(*verdicts: Verdict, device: str = "none", day: str = "2026-11-21") -> Evidence:
    return Evidence(
        digest=DIGEST,
        cell="a-cell",
        device=device,
        day=day,
        dlimg="0.1",
        engine="28.5",
        verdicts=verdicts,
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    warnings: list[str] = []
    first = kept(ran())
    on_gpu = kept(ran(needs="gpu"), device=CDI)
    again = kept(ran(Status.FAILED))
    for evidence in (first, on_gpu, again):
        write_evidence(tmp_path, evidence, say=warnings.append)
    found = {one.device: one for one in read_evidence(tmp_path, DIGEST, say=warnings.append)}
    assert found == {"none": again, CDI: on_gpu}
    assert warnings == []
    assert [path.name for path in tmp_path.iterdir()] == [f"{'a' * 64}.json"]


def test_nothing_is_known_of_another_digest(tmp_path: Path) -> None:
    write_evidence(tmp_path, kept(ran()), say=print)
    assert read_evidence(tmp_path, "sha256:" + "b" * 64, say=print) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"format": 1}',
        json.dumps({"format": 2, "digest": DIGEST, "devices": []}),
        '{"format": 1, "digest": "another", "devices": []}',
        json.dumps({"format": 1, "digest": DIGEST, "devices": 7}),
        json.dumps({"format": 1, "digest": DIGEST, "devices": [{"device": "none"}]}),
        evidence_text([kept(ran())]).replace('"passed"', '"splendid"'),
        evidence_text([kept(ran())])[:-30],
        "\udcff",
        pytest.param("[" * 100_000, id="nested too deeply"),
    ],
)
def test_a_damaged_file_is_told_of_and_replaced(tmp_path: Path, text: str) -> None:
    warnings: list[str] = []
    path = tmp_path / f"{'a' * 64}.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert read_evidence(tmp_path, DIGEST, say=warnings.append) == ()
    assert len(warnings) == 1
    assert str(path) in warnings[0]
    write_evidence(tmp_path, kept(ran()), say=warnings.append)
    assert read_evidence(tmp_path, DIGEST, say=print) == (kept(ran()),)


@pytest.mark.parametrize("folder", ["/proc/none", "{}/file", "{}/file/below"])
def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    place = Path(folder.format(tmp_path))
    warnings: list[str] = []
    assert read_evidence(place, DIGEST, say=warnings.append) == ()
    write_evidence(place, kept(ran()), say=warnings.append)
    (warning,) = warnings
    assert warning.startswith(f"warning: verdicts cannot be kept in {place} (")


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    write_evidence(tmp_path, kept(ran()), say=print)
    unwritable = kept(replace(ran(), figures={"x": object()}))
    with pytest.raises(TypeError):
        write_evidence(tmp_path, unwritable, say=print)
    assert read_evidence(tmp_path, DIGEST, say=print) == (kept(ran()),)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("verdict", "known_on", "device", "holds"),
    [
        (ran(), "none", "none", True),
        (ran(), "none", CDI, False),
        (ran(), CDI, CDI, True),
        (ran(sha256="2"), "none", "none", False),
        (replace(ran(), check="other"), "none", "none", False),
        (ran(Status.FAILED), "none", "none", False),
        (ran(Status.NOT_RUN, needs="gpu"), "none", "none", True),
        (ran(Status.NOT_RUN, needs="gpu"), "none", CDI, False),
        (ran(Status.NOT_RUN, needs="gpu"), CDI, CDI, False),
        (ran(Status.NOT_RUN), "none", "none", False),
    ],
)
def test_only_what_still_holds_is_used_again(
    verdict: Verdict, known_on: str, device: str, *, holds: bool
) -> None:
    found = reusable([kept(verdict, device=known_on)], CHECK, device)
    assert found == (verdict if holds else None)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/dlimg/evidence"),
        ({"HOME": "/h"}, "/h/.local/state/dlimg/evidence"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/dlimg/evidence"),
    ],
)
def test_where_evidence_is_kept(environment: dict[str, str], folder: str) -> None:
    assert str(evidence_folder(environment)) == folder


def test_a_check_is_another_one_when_what_it_imports_is_another() -> None:
    check = replace(CHECK, path="/p/images/jax/checks/learns.py", sha256="1")
    images = Path("/p/images")
    files = {"common/checks/_gpu.py": b"1", "jax/checks/learns.py": b"2"}
    one = placed(check, images, files)
    assert one.path == f"{ROOT}/jax/checks/learns.py"
    assert placed(check, images, {**files, "jax/checks/other.py": b"3"}) == one
    assert placed(check, images, {**files, "common/checks/_gpu.py": b"4"}).sha256 != one.sha256
    assert placed(replace(check, sha256="2"), images, files).sha256 != one.sha256


def test_the_file_is_json_that_people_can_read() -> None:
    text = evidence_text([kept(ran())])
    assert json.loads(text)["devices"][0]["verdicts"][0]["status"] == "passed"
    assert parse_evidence(text, DIGEST) == (kept(ran()),)
