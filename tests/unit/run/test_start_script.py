"""The start of containers that wait, as a shell runs it: for secrets and for GPUs."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.model import DetectedGpu, LocalMachine
from dlimg.run import gpu_queue
from dlimg.run.model import GpuAccess
from dlimg.run.secrets import _PRINT
from dlimg.run.start_script import (
    LOCKS,
    MEMORY,
    RECEIVE,
    StartConditions,
    exec_command,
    start_entrypoint,
)
from tests.support import run_engine

ENTRY = ("/usr/bin/env", "ENTERED=yes")


class Containers:
    """Processes in place of containers, with one folder of locks."""

    def __init__(self, folder: Path, context: Context, gpus: int) -> None:
        self.folder = folder
        self.gpus = tuple((str(number), number) for number in range(gpus))
        self.locks = gpu_queue.lock_folder([n for n, _ in self.gpus], context, folder / "locks")

    def argv(self, name: str, command: tuple[str, ...]) -> list[str]:
        memory = self.folder / name
        memory.mkdir(exist_ok=True)
        (memory / "hostname").write_text(name)
        places = {LOCKS: self.locks, MEMORY: memory, "/etc/hostname": memory / "hostname"}
        for place in sorted(places, key=len, reverse=True):
            command = tuple(text.replace(place, str(places[place])) for text in command)
        return list(command)

    def start(self, name: str, command: str, *, queue: bool = True) -> subprocess.Popen[str]:
        conditions = StartConditions(run=name, gpus=self.gpus, queue=queue)
        argv = self.argv(name, (*start_entrypoint(conditions, ENTRY), "sh", "-c", command))
        return subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def test_nothing_to_wait_for_needs_no_script() -> None:
    assert start_entrypoint(StartConditions(run="a:1"), ENTRY) == ()


def test_two_queued_runs_share_out_two_gpus_and_a_third_waits(
    tmp_path: Path, context: Context
) -> None:
    containers = Containers(tmp_path, context, gpus=2)
    holding = "echo $CUDA_VISIBLE_DEVICES $ENTERED; exec cat >/dev/null"
    first, second = (containers.start(f"r{n}", holding) for n in (1, 2))
    assert {f.stdout.readline() for f in (first, second) if f.stdout} == {"0 yes\n", "1 yes\n"}
    third = containers.start("r3", holding)
    assert third.stderr
    assert "waits for a free GPU" in third.stderr.readline()
    assert gpu_queue.holders_in([containers.locks]).keys() == {"r1", "r2"}
    _, message = second.communicate()
    assert "r2 has GPU" in message
    assert third.stdout
    assert third.stdout.readline() in {"0 yes\n", "1 yes\n"}
    for process in (first, third):
        process.communicate()
        assert process.returncode == 0


def test_a_run_that_is_killed_frees_its_gpu(tmp_path: Path, context: Context) -> None:
    containers = Containers(tmp_path, context, gpus=1)
    first = containers.start("r1", "echo; exec cat")
    assert first.stdout
    first.stdout.readline()
    second = containers.start("r2", "echo $CUDA_VISIBLE_DEVICES")
    first.kill()
    assert second.communicate(timeout=10)[0] == "0\n"
    first.communicate()


def test_a_queued_run_waits_for_one_that_uses_all_gpus_and_not_the_other_way(
    tmp_path: Path, context: Context
) -> None:
    containers = Containers(tmp_path, context, gpus=2)
    shared = [containers.start(f"s{n}", "echo x; exec cat", queue=False) for n in (1, 2)]
    for process in shared:
        assert process.stdout
        assert process.stdout.readline() == "x\n"
    queued = containers.start("q1", "echo x")
    assert queued.stderr
    assert "waits for the runs that share all GPUs" in queued.stderr.readline()
    for process in shared:
        process.communicate()
    assert queued.communicate(timeout=10)[0] == "x\n"


def test_secrets_come_over_standard_input_and_are_variables_then(
    tmp_path: Path, context: Context
) -> None:
    containers = Containers(tmp_path, context, gpus=0)
    conditions = StartConditions(run="a:1", secrets=True)
    show = ("printenv", "A_KEY")
    start = containers.argv("c", (*start_entrypoint(conditions, ENTRY), *show))
    process = subprocess.Popen(start, stdout=subprocess.PIPE, text=True)
    receive = containers.argv("c", ("sh", "-c", RECEIVE))
    subprocess.run(receive, input="export A_KEY='it'\"'\"'s $x 你\n2'\n", text=True, check=True)
    assert process.communicate(timeout=10)[0] == "it's $x 你\n2\n"
    assert (tmp_path / "c/secrets").stat().st_mode & 0o077 == 0
    inside = containers.argv("c", exec_command(show))
    assert subprocess.check_output(inside, text=True) == "it's $x 你\n2\n"
    script = f". {tmp_path}/c/secrets && {_PRINT}"
    shown = subprocess.check_output(["sh", "-c", script, "sh", "A_KEY", "UNSET"], text=True)
    assert shown.split("\0") == ["it's $x 你\n2", "", ""]


def test_the_command_has_the_exit_code(tmp_path: Path, context: Context) -> None:
    process = Containers(tmp_path, context, gpus=1).start("r1", "exit 7")
    process.communicate(timeout=10)
    assert process.returncode == 7


@pytest.mark.parametrize(
    ("access", "gpus", "numbers"),
    [
        (GpuAccess(), 2, ()),
        (GpuAccess(kind="runtime"), 2, (("0", 0), ("1", 1))),
        (GpuAccess(kind="cdi", devices=("nvidia.com/gpu=all",)), 2, (("0", 0), ("1", 1))),
        (GpuAccess(kind="cdi", devices=("nvidia.com/gpu=1",)), 2, (("1", 0),)),
        (GpuAccess(kind="cdi", devices=("example.com/gpu=all",)), 0, (("0", 0), ("1", 1))),
        (GpuAccess(kind="gpus"), 0, (("0", 0),)),
    ],
)
def test_each_gpu_of_a_container_has_a_lock(
    access: GpuAccess, gpus: int, numbers: tuple[tuple[str, int], ...], context: Context
) -> None:
    names = ("example.com/gpu=0", "example.com/gpu=1", "example.com/gpu=all")
    devices = [{"Source": "cdi", "ID": name} for name in names]
    engine = run_engine.engine(run_engine.FakeApi(), context, DiscoveredDevices=devices)
    machine = LocalMachine(gpus=(DetectedGpu(name="A", capability="9.0"),) * gpus)
    assert gpu_queue.gpu_numbers(access, machine, engine) == numbers


def test_locks_can_be_made_where_the_machine_has_no_folder_for_them(
    tmp_path: Path, context: Context
) -> None:
    folder = gpu_queue.lock_folder(["0"], context, tmp_path / "locks")
    assert (folder / "gpu-0.lock").is_file()
    assert folder.stat().st_mode & 0o7777 == 0o1777
    (tmp_path / "file").touch()
    other = gpu_queue.lock_folder(["0"], context, tmp_path / "file/locks")
    assert other == context.state / "gpus"
    assert os.access(other / "gpu-0.lock", os.R_OK)
