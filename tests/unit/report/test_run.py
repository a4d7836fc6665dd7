"""Runs as text and JSON."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dlimg.report.plain import filled_columns, shortened
from dlimg.report.run import HEADINGS, end_lines, outside_lines, status_json, status_row
from dlimg.report.table import table
from dlimg.run.model import RunName, RunStatus
from tests.unit.run.test_record import RECORD

ENDED = replace(
    RECORD,
    created="2026-11-29T10:00:00",
    started="2026-11-29T10:00:01.500",
    finished="2026-11-29T10:02:05",
    exit_code=137,
    remarks=("the kernel killed one of its processes: out of memory",),
)


@pytest.fixture(autouse=True)
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC-8")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_end_of_a_run_says_code_time_output_and_remarks() -> None:
    assert list(end_lines(ENDED, (2, 1_500_000))) == [
        f"你好:2: ended with 137 after 2 min 04 s; output: 2 files, 2 MB in {ENDED.output}",
        "你好:2: the kernel killed one of its processes: out of memory",
    ]
    assert "output" not in next(iter(end_lines(ENDED, (0, 0))))


def test_files_outside_of_the_output_come_with_the_line_that_fetches_them() -> None:
    lines = list(outside_lines(ENDED, [f"/tmp/a b/{number}" for number in range(12)]))  # noqa: S108
    assert lines[-2:] == [
        "  and 2 more",
        "to fetch: `dlimg output 你好:2 --path '/tmp/a b/0' --to DIR`",
    ]
    assert list(outside_lines(ENDED, [])) == []


def test_a_row_has_the_local_time() -> None:
    row = status_row(RunStatus(record=ENDED, state="ended"))
    assert row[:6] == ("你好:2", "", "ended", "137", "2026-11-29 18:00", "2 min 04 s")


def test_usual_runs_fit_into_a_table_of_140_columns() -> None:
    run = replace(
        ENDED,
        run=RunName(name="train-resnet", number=12),
        image="registry.example.org:5000/team/tensorflow:2.21.0-cuda12.9-cudnn9.10-py3.13-debian13",
        command=("python", "train.py", "--epochs", "90", "--data", "/data/imagenet", "--amp"),
        gpu="nvidia.com/gpu=all",
        origin="ben@desk",
    )
    rows = [status_row(RunStatus(record=run, state="running", holds="1")) for _ in range(2)]
    drawn = table(*filled_columns(HEADINGS, rows), width=140, colour=False).splitlines()
    assert drawn[0].split() == list(HEADINGS)
    assert drawn[1].startswith("train-resnet:12  ben@desk  running  137")
    assert "tensorflow:2.21.0-cuda12..." in drawn[1]


def test_columns_without_content_are_left_out() -> None:
    headings, rows = filled_columns(("a", "b", "c"), [("", "", "1"), ("", "", "")])
    assert (headings, rows) == (["a", "c"], [["", "1"], ["", ""]])


@pytest.mark.parametrize(("text", "short"), [("a" * 9, "a" * 9), ("abcdefghijkl", "abc...jkl")])
def test_the_middle_of_a_long_text_is_left_out(text: str, short: str) -> None:
    assert shortened(text, 9) == short


def test_unknown_values_are_null_in_json_and_times_have_a_zone() -> None:
    waiting = replace(ENDED, started="", finished="", exit_code=None, queue=True)
    document = status_json(RunStatus(record=waiting, state="waiting"))
    unknown = ("started", "finished", "exit_code", "holds_gpu", "gpu")
    assert {name: document[name] for name in unknown} == dict.fromkeys(unknown)
    assert document["created"] == "2026-11-29T10:00:00Z"
    assert status_json(RunStatus(record=ENDED, state="ended", holds="1"))["holds_gpu"] == "1"
