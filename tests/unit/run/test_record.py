"""Records of runs: written, read back, found by name, numbered."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.run import record as records
from dlimg.run.model import CodeState, Fingerprint, RunData, RunName, RunRecord

RECORD = RunRecord(
    run=RunName(name="你好", number=2),
    container="c0ffee",
    host="unix:///run/docker.sock",
    image="dlimg/jax:1",
    digest="sha256:00",
    command=("sh", "-c", "echo '$x' \"你好\""),
    folder="/home/me/my code",
    output="/home/me/my code/output/2",
    code=CodeState(commit="abc", dirty=True),
    data=(RunData(name="d", source="/d", fingerprint=Fingerprint(files=1, size=2, newest=3)),),
    secrets=("WANDB_API_KEY",),
    created="2026-11-29T10:00:00",
    exit_code=3,
    remarks=("out of memory",),
)


def test_a_record_is_read_back_as_it_was(context: Context) -> None:
    records.write_record(RECORD, context)
    assert records.read_records(context) == (RECORD,)
    assert records.record_file(RECORD.run, context).stat().st_mode & 0o077 == 0


def test_a_folder_whose_name_is_no_utf8_is_read_back_as_it_was(context: Context) -> None:
    record = replace(RECORD, folder="/x/\udcff")
    records.write_record(record, context)
    assert records.read_records(context) == (record,)


def test_a_name_alone_means_its_last_run(context: Context) -> None:
    for number in (9, 10):
        run = RunName(name="hello", number=number)
        records.write_record(replace(RECORD, run=run), context)
    assert records.find_record("hello", context).run.number == 10
    assert records.find_record("hello:9", context).run.number == 9


def test_an_unknown_run_is_refused_with_the_nearest(context: Context) -> None:
    records.write_record(replace(RECORD, run=RunName(name="hello", number=1)), context)
    with pytest.raises(BadInput, match="there is no run 'helo:1'") as error:
        records.find_record("helo:1", context)
    assert "'hello:1'" in str(error.value)


def test_runs_at_the_same_moment_have_different_numbers(context: Context) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: records.take_number("hello", 4, context), range(24)))
    assert sorted(run.number for run in runs) == list(range(5, 29))


def test_a_damaged_record_is_left_out_and_named(context: Context, messages: list[str]) -> None:
    records.write_record(RECORD, context)
    path = records.record_file(RunName(name="hello", number=1), context)
    path.parent.mkdir(parents=True)
    for text in ("{", "[]", "{}", '{"run": 1}', "\x00"):
        path.write_text(text)
        assert records.read_records(context) == (RECORD,)
        assert str(path) in messages[-1]


def test_a_run_that_is_being_made_is_not_shown(context: Context) -> None:
    records.take_number("hello", 0, context)
    assert records.read_records(context) == ()
