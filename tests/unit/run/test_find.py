"""Runs of an engine that others began: found by their labels, marked, and left to them."""

import getpass
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import BadInput, Negative
from dlimg.report.run import status_json
from dlimg.run.find import RunFinder, other_runs, refuse_of_others
from dlimg.run.lifecycle import status_of
from dlimg.run.model import RUN_LABEL, RunName, RunRecord
from dlimg.run.record import read_records, write_record
from tests.support import run_engine
from tests.unit.run.test_record import RECORD

HOST = "ssh://ada@lab"
MINE = f"{getpass.getuser()}@other-laptop"


def add_run(api: run_engine.FakeApi, run: str, status: str = "running", **labels: str) -> None:
    """A container whose labels are those of a run."""
    number = run.partition(":")[2]
    api.set_state(run, status, ExitCode=3)
    api.containers_by_id[run] |= {
        "Id": run,
        "Config": {
            "Labels": {RUN_LABEL: run, **{f"{RUN_LABEL}.{n}": text for n, text in labels.items()}}
        },
        "Mounts": [
            {"Destination": "/output", "Source": f"/home/ben/dlimg-runs/x-1/output/{number}"}
        ],
    }


@pytest.fixture
def api() -> run_engine.FakeApi:
    api = run_engine.FakeApi()
    labels = {"from": "ben@desk", "created": "2026-11-29T10:00:00"}
    add_run(api, "hello:3", image="jax:1@sha256:00", command="python 'a b.py'", gpu="all", **labels)
    add_run(api, "hello:4", "exited", mode="jupyter", secrets="TOKEN KEY", **labels)
    add_run(api, "mine:1", **{**labels, "from": MINE})
    add_run(api, "old:1")
    return api


@pytest.fixture
def lab(api: run_engine.FakeApi, context: Context) -> Engine:
    return run_engine.engine(api, context, HOST)


def find(text: str, engine: Engine, context: Context) -> RunRecord:
    finder = RunFinder(context=context, on="ada@lab", engines={HOST: engine})
    return finder.find(text)[0]


def test_runs_of_others_are_listed_and_marked(lab: Engine, context: Context) -> None:
    rows = {str(status.record.run): status for status in other_runs(lab, context)}
    assert {run: (row.state, row.record.origin) for run, row in rows.items()} == {
        "hello:3": ("running", "ben@desk"),
        "hello:4": ("ended", "ben@desk"),
        "mine:1": ("running", MINE),
        "old:1": ("running", "another machine"),
    }
    document = json.loads(json.dumps(status_json(rows["hello:3"])))
    assert document["from"] == "ben@desk"
    assert (document["command"], document["gpu"]) == (["python", "a b.py"], "all")
    assert rows["hello:4"].record.exit_code == 3
    assert rows["hello:4"].record.secrets == ("TOKEN", "KEY")  # so that logs mask them
    assert read_records(context) == ()


def test_a_run_with_a_record_here_is_listed_once_and_is_no_others(
    lab: Engine, context: Context
) -> None:
    run = RunName(name="hello", number=3)
    write_record(replace(RECORD, run=run, container="hello:3", host=HOST), context)
    assert "hello:3" not in {str(status.record.run) for status in other_runs(lab, context)}
    assert find("hello:3", lab, context).origin == ""


def test_a_run_of_another_never_replaces_a_record_of_its_name(
    lab: Engine, context: Context
) -> None:
    run = RunName(name="hello", number=4)
    own = replace(RECORD, run=run, container="elsewhere", host="unix:///x", exit_code=None)
    write_record(own, context)
    found = find("hello:4", lab, context)
    assert (found.origin, found.mode) == ("ben@desk", "jupyter")
    assert status_of(found, lab, context).record.exit_code == 3
    assert read_records(context) == (own,)


@pytest.mark.parametrize(("text", "run"), [("hello", "hello:4"), ("hello:3", "hello:3")])
def test_a_run_of_another_is_found_by_name_or_number(
    text: str, run: str, lab: Engine, context: Context
) -> None:
    found = find(text, lab, context)
    assert str(found.run) == run
    assert found.base == "/home/ben/dlimg-runs/x-1"
    assert Path(found.output).name == f"hello-{found.run.number}-ada-lab"


def test_an_unknown_run_is_refused_with_those_of_the_machine(lab: Engine, context: Context) -> None:
    with pytest.raises(BadInput, match="has no run 'hallo'") as error:
        find("hallo", lab, context)
    assert "hello:3" in error.value.problems[0].hint


@pytest.mark.parametrize(
    ("source", "base"),
    [
        ("/home/ben/x/output/3", "/home/ben/x"),
        ("/home/ben/my x/output/3", ""),
        ("/scratch/results", ""),
        ("", ""),
    ],
)
def test_only_a_usual_output_folder_is_fetched_by_ssh(
    source: str, base: str, api: run_engine.FakeApi, lab: Engine, context: Context
) -> None:
    api.containers_by_id["hello:3"]["Mounts"] = [{"Destination": "/output", "Source": source}]
    assert find("hello:3", lab, context).base == base


def test_runs_of_another_user_are_neither_stopped_nor_removed(
    lab: Engine, context: Context
) -> None:
    with pytest.raises(Negative, match="`dlimg stop` leaves hello:3 to ben@desk") as error:
        refuse_of_others(find("hello:3", lab, context), "stop")
    assert "`ssh ada@lab docker stop dlimg-hello-3`" in error.value.problems[0].hint
    refuse_of_others(find("mine:1", lab, context), "stop")
    refuse_of_others(RECORD, "rm")


def test_a_run_without_a_label_of_its_origin_may_be_the_users(
    lab: Engine, context: Context
) -> None:
    refuse_of_others(find("old:1", lab, context), "rm")
