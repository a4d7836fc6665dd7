"""How runs ended: out of memory, a full disk, changed data, files that are nowhere else."""

from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.run import lifecycle
from dlimg.run.code_state import code_state, fingerprint
from dlimg.run.model import RunData, RunRecord
from dlimg.run.record import find_record, write_record
from tests.support import run_engine
from tests.unit.run.test_record import RECORD


@pytest.fixture
def record(tmp_path: Path, context: Context) -> RunRecord:
    """A run whose container exists and whose output folder is there."""
    record = replace(RECORD, container="c1", output=str(tmp_path), data=(), exit_code=None)
    record = replace(record, remarks=())
    write_record(record, context)
    return record


def test_the_end_of_a_run_is_recorded_once(record: RunRecord, context: Context) -> None:
    api = run_engine.FakeApi()
    api.set_state("c1", "exited", ExitCode=3)
    engine = run_engine.engine(api, context)
    (status,) = lifecycle.statuses(engine, context)
    assert (status.state, status.record.exit_code) == ("ended", 3)
    assert find_record(str(record.run), context).finished == "2026-11-29T10:01:00.5"
    api.set_state("c1", "exited", ExitCode=4)
    assert lifecycle.statuses(engine, context)[0].record.exit_code == 3


def test_a_run_without_its_container_is_gone(record: RunRecord, context: Context) -> None:
    engine = run_engine.engine(run_engine.FakeApi(), context)
    assert [status.state for status in lifecycle.statuses(engine, context)] == ["gone"]
    assert lifecycle.status_of(record, engine, context).state == "gone"
    assert [status.state for status in lifecycle.statuses(None, context)] == ["gone"]


def test_a_run_killed_by_the_kernel_says_out_of_memory(record: RunRecord, context: Context) -> None:
    api = run_engine.FakeApi()
    api.set_state("c1", "exited", ExitCode=137, OOMKilled=True)
    status = lifecycle.status_of(record, run_engine.engine(api, context), context)
    assert status.record.remarks == ("the kernel killed one of its processes: out of memory",)


def test_data_that_changed_during_a_run_is_named(
    record: RunRecord, context: Context, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_text("1")
    data = RunData(name="d", source=str(folder), fingerprint=fingerprint(folder))
    record = replace(record, data=(data,))
    api = run_engine.FakeApi()
    api.set_state("c1", "exited")
    engine = run_engine.engine(api, context)
    assert lifecycle.status_of(record, engine, context).record.remarks == ()
    (folder / "a").write_text("22")
    (remark,) = lifecycle.status_of(record, engine, context).record.remarks
    assert remark == f"data changed during the run: d ({folder})"


def test_an_output_folder_that_is_gone_is_named(record: RunRecord, context: Context) -> None:
    api = run_engine.FakeApi()
    api.set_state("c1", "exited")
    record = replace(record, output="/nowhere/output")
    status = lifecycle.status_of(record, run_engine.engine(api, context), context)
    assert status.record.remarks == ("its output folder /nowhere/output is gone",)


@pytest.mark.parametrize(
    ("path", "is_result"),
    [
        ("/tmp/checkpoint.pt", True),  # noqa: S108
        ("/home/user/models/best.ckpt", True),
        ("/root/results.csv", True),
        ("/checkpoints/1", True),
        ("/tmp/home-1000/run.log", True),  # noqa: S108
        ("/code/new.txt", False),
        ("/output/new.txt", False),
        ("/etc/hosts", False),
        ("/usr/sbin/docker-init", False),
        ("/tmp/home-1000", False),  # noqa: S108
        ("/tmp/home-1000/env/lib/python3.13/site-packages/x.py", False),  # noqa: S108
        ("/home/user/.cache/pip/x", False),
        ("/home/user/pkg/__pycache__/x.pyc", False),
        ("/data/mnist", False),
        ("/tmp/dlimg-jupyter-0-x/jupyter_server_config.json", False),  # noqa: S108
        ("/root/.keras/datasets/mnist.npz", False),
        ("/root/.bash_history", True),
        ("/run/secrets", False),
    ],
)
def test_results_outside_of_the_output_are_found_and_caches_are_not(
    path: str,
    *,
    is_result: bool,
) -> None:
    found = lifecycle.results_outside([path], ["/code", "/output"])
    assert found == ((path,) if is_result else ())


def test_folders_of_changed_files_are_left_out() -> None:
    paths = ["/models", "/models/a", "/models/a/b", "/models-old"]
    assert lifecycle.results_outside(paths, []) == ("/models-old", "/models/a/b")


def test_files_of_a_gpus_driver_are_no_results_of_a_run(
    record: RunRecord, context: Context
) -> None:
    api = run_engine.FakeApi()
    api.set_state("c1", "exited")
    driver = ("/usr/bin/nvidia-smi", "/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05")
    api.changes = [{"Path": path, "Kind": 1} for path in ("/usr/bin", *driver, "/model.pt")]
    engine = run_engine.engine(api, context)
    gpu = replace(record, gpu="nvidia.com/gpu=all")
    assert lifecycle.files_outside(gpu, engine) == ("/model.pt",)
    assert set(lifecycle.files_outside(replace(record, gpu=""), engine)) > set(driver)


def test_the_digest_of_code_changes_with_any_file_but_the_skipped(
    tmp_path: Path, context: Context
) -> None:
    (tmp_path / "train.py").write_text("1")
    output = tmp_path / "output"
    output.mkdir()
    skipped = frozenset({output})
    before = code_state(tmp_path, skipped, context)
    (output / "model").write_text("x")
    assert code_state(tmp_path, skipped, context) == before
    (tmp_path / "你好 $x.py").write_text("1")
    assert code_state(tmp_path, skipped, context) != before
    assert before.digest.startswith("sha256:")


def test_a_fingerprint_sees_added_removed_and_changed_files(tmp_path: Path) -> None:
    first, file = fingerprint(tmp_path), tmp_path / "a"
    file.write_text("1")
    second = fingerprint(tmp_path)
    file.write_text("12")
    third = fingerprint(tmp_path)
    file.unlink()
    assert len({first, second, third}) == 3
    assert fingerprint(tmp_path) != third
    (tmp_path / "b").write_text("123")
    assert fingerprint(tmp_path / "b").files == 1
