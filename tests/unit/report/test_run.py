"""Runs as text and JSON."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dlimg.report.run import end_lines, outside_lines, status_json, status_row
from dlimg.run.model import RunStatus
from tests.unit.run.test_record import RECORD

ENDED = replace(
    RECORD,
    created="2026-11-29T10:00:00",
    started="2026-11-29T10:00:01.500",
    finished="2026-11-29T10:02:05",
    exit_code=137,
    remarks=("the kernel ended a process of it: out of memory",),
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
        "你好:2: the kernel ended a process of it: out of memory",
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
    assert row[:5] == ("你好:2", "ended", "137", "2026-11-29 18:00:01", "2 min 04 s")


def test_unknown_values_are_null_in_json_and_times_have_a_zone() -> None:
    waiting = replace(ENDED, started="", finished="", exit_code=None, queue=True)
    document = status_json(RunStatus(record=waiting, state="waiting"))
    unknown = ("started", "finished", "exit_code", "holds_gpu", "gpu")
    assert {name: document[name] for name in unknown} == dict.fromkeys(unknown)
    assert document["created"] == "2026-11-29T10:00:00Z"
    assert status_json(RunStatus(record=ENDED, state="ended", holds="1"))["holds_gpu"] == "1"
