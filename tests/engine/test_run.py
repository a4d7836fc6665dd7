"""Runs of folders, on a real engine: from a script to its output, and each fault on the way."""

import contextlib
import json
import os
import pty
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dlimg.engine.client import Engine
from dlimg.host.process import run_checked
from dlimg.run.container import create_container, start_container
from dlimg.run.follow import LogRequest, log_lines, wait_for_exit
from dlimg.run.model import RUN_LABEL, Mount, RunName, RunSpec
from tests.engine.test_cli import ROOT, dlimg
from tests.support.layout_image import LayoutImage

pytestmark = pytest.mark.engine


CHECKPOINTS = "/tmp/ckpt"  # noqa: S108 - in a container


class Folder:
    """A folder of a user, with runs of its own that are gone after the test."""

    def __init__(self, path: Path, image: str, state: Path) -> None:
        self.path = path
        self.image = image
        self.name = f"t{secrets.token_hex(4)}"
        self.variables = {**os.environ, "XDG_STATE_HOME": str(state)}

    def arguments(self, *options: str, command: Sequence[str] = ()) -> tuple[str, ...]:
        given = () if "--env" in options else ("--env", self.image)
        return ("run", *given, "--name", self.name, *options, "--", *command)

    def run(self, *options: str, command: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        arguments = self.arguments(*options, command=command)
        return dlimg(*arguments, cwd=self.path, variables=self.variables)

    def shell(self, script: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run(*options, command=("sh", "-c", script))

    def dlimg(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return dlimg(*arguments, cwd=self.path, variables={**self.variables, **variables})

    def start(self, script: str, *options: str) -> subprocess.Popen[str]:
        """A followed run, as a program that gets signals."""
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "dlimg",
                *self.arguments(*options, command=("sh", "-c", script)),
            ],
            cwd=self.path,
            env={**self.variables, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def status(self, number: int) -> dict[str, Any]:
        ended = self.dlimg("ps", "--format", "json")
        rows: dict[str, dict[str, Any]] = {row["run"]: row for row in json.loads(ended.stdout)}
        return rows[f"{self.name}:{number}"]

    def wait(self, number: int, state: str) -> None:
        deadline = time.monotonic() + 60
        while self.status(number)["state"] != state:
            assert time.monotonic() < deadline, self.status(number)
            time.sleep(0.1)


@pytest.fixture
def folder(tmp_path: Path, engine: Engine, layout_image: LayoutImage) -> Iterator[Folder]:
    path = tmp_path / "my 'first' $x 你好"
    path.mkdir()
    folder = Folder(path, layout_image.built.planned.reference, tmp_path / "state")
    yield folder
    api: Any = engine.sdk.api
    for row in api.containers(all=True, filters={"label": RUN_LABEL}):
        if row["Labels"][RUN_LABEL].rpartition(":")[0] == folder.name:
            api.remove_container(row["Id"], force=True, v=True)


def test_a_folder_becomes_a_result_by_one_line(folder: Folder) -> None:
    (folder.path / "train.py").write_text(
        "import pathlib, sys\n"
        "print('你好', pathlib.Path.cwd(), flush=True)\n"
        "print('to stderr', file=sys.stderr)\n"
        "pathlib.Path('/output/模型 $1.txt').write_text('learned')\n"
    )
    ended = folder.run()
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "你好 /code\n"
    assert "to stderr\n" in ended.stderr
    result = folder.path / "output/1/模型 $1.txt"
    assert result.read_text() == "learned"
    status = result.stat()
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
    row = folder.status(1)
    assert (row["state"], row["exit_code"]) == ("ended", 0)
    assert row["command"] == ["python", "train.py"]
    assert row["digest"].startswith("sha256:")
    assert row["code"].startswith("sha256:")


def test_files_belong_to_the_user_of_the_specification(
    folder: Folder, engine: Engine, tmp_path: Path
) -> None:
    output = tmp_path / "of another user"
    output.mkdir()
    os.chown(output, 1234, 1235)
    spec = RunSpec(
        run=RunName(name=folder.name, number=1),
        image=folder.image,
        digest="",
        command=("sh", "-c", "touch /output/a && python -c 'import six; print(six.__name__)'"),
        mounts=(Mount(kind="bind", source=str(output), target="/output"),),
        user="1234:1235",
    )
    container = create_container(spec, engine)
    start_container(container, engine)
    assert wait_for_exit(container, engine) == 0
    request = LogRequest(follow=False, tail=None, times=False)
    assert b"".join(log_lines(container, request, engine)) == b"six\n"
    status = (output / "a").stat()
    assert (status.st_uid, status.st_gid) == (1234, 1235)


def test_the_exit_code_and_all_words_of_the_command_come_through(folder: Folder) -> None:
    arguments = ["a b", "$HOME", "it's", '"', "你好", "--gpu", "*"]
    ended = folder.run(command=("python", "-c", "import sys; print(sys.argv[1:])", *arguments))
    assert ended.stdout == f"{arguments}\n"
    assert folder.shell("exit 7").returncode == 7
    assert folder.run(command=("exit 8; echo 'a line'",)).returncode == 8


def test_data_is_read_only_and_an_output_is_the_next_runs_data(
    folder: Folder, tmp_path: Path
) -> None:
    data = tmp_path / 'a, b"c'
    data.mkdir()
    (data / "x").write_text("1")
    script = "cat /data/d/x /input/d/x /d/x; touch /data/d/y || echo refused; echo m >/output/m"
    ended = folder.shell(script, "--data", f"{data}:d")
    assert ended.stdout == "111refused\n"
    ended = folder.shell("cat /data/model/m", "--data", f"{folder.name}:1/output:model")
    assert ended.stdout == "m\n"


def test_ctrl_c_gives_the_command_time_and_a_second_one_kills_it(folder: Folder) -> None:
    forever = "echo go; while :; do sleep .1; done"
    script = f"trap 'echo saving; sleep 1; echo saved; exit 3' TERM; {forever}"
    for number, code in ((signal.SIGINT, 3), (signal.SIGTERM, 3)):
        process = folder.start(script)
        assert process.stdout
        assert process.stdout.readline() == "go\n"
        process.send_signal(number)
        out, log = process.communicate(timeout=60)
        assert (out, process.returncode) == ("saving\nsaved\n", code)
        assert "it has 120 s" in log
    process = folder.start(f"trap '' TERM; {forever}")
    assert process.stdout
    assert process.stdout.readline() == "go\n"
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    process.communicate(timeout=60)
    assert process.returncode == 137


@pytest.mark.slow
def test_a_python_without_a_handler_ends_at_sigterm(folder: Folder) -> None:
    ended = folder.run("-d", command=("python", "-c", "import time; time.sleep(300)"))
    assert ended.stdout == f"{folder.name}:1\n"
    folder.wait(1, "running")
    began = time.monotonic()
    assert folder.dlimg("stop", folder.name).returncode == 0
    assert time.monotonic() - began < 60
    assert folder.status(1)["exit_code"] == 143


def test_a_run_outlives_the_program_that_started_it(folder: Folder) -> None:
    process = folder.start("echo go; sleep 2; echo after; echo x >/output/x")
    assert process.stdout
    assert process.stdout.readline() == "go\n"
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    folder.wait(1, "ended")
    ended = folder.dlimg("logs", f"{folder.name}:1", "--no-times")
    assert ended.stdout == "go\nafter\n"
    assert (folder.path / "output/1/x").exists()


def test_logs_have_times_and_a_follower_detaches(folder: Folder) -> None:
    folder.shell("echo 你好; sleep 300", "-d")
    argv = [sys.executable, "-m", "dlimg", "logs", "-f", folder.name]
    process = subprocess.Popen(
        argv,
        env={**folder.variables, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    line = process.stdout.readline()
    day, clock, text = line.split()
    assert (len(day), len(clock), text) == (10, 8, "你好")
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    assert f"detached: {folder.name}:1 goes on" in log
    assert folder.status(1)["state"] == "running"


def test_files_outside_of_the_output_are_named_and_can_be_fetched(
    folder: Folder, tmp_path: Path
) -> None:
    ended = folder.shell("mkdir /tmp/ckpt; echo 1 >/tmp/ckpt/step-1; echo 2 >~/best")
    lines = ended.stderr.splitlines()
    assert "  /tmp/ckpt/step-1" in lines
    assert any(line.endswith("/best") for line in lines)
    assert "docker-init" not in ended.stderr
    refused = folder.dlimg("rm", folder.name)
    assert refused.returncode == 1
    assert "files that are nowhere else" in refused.stderr
    target = tmp_path / "fetched"
    run_name = f"{folder.name}:1"
    fetched = folder.dlimg("output", run_name, "--path", CHECKPOINTS, "--to", str(target))
    assert fetched.returncode == 0, fetched.stderr
    assert (target / "ckpt/step-1").read_text() == "1\n"
    assert folder.dlimg("output", run_name, "--path", "/no", "--to", str(target)).returncode == 2
    assert folder.dlimg("rm", "--force", folder.name).returncode == 0
    assert folder.dlimg("ps", "--format", "json").stdout.strip() == "[]"


@pytest.mark.slow
def test_a_clean_run_is_removed_and_its_output_stays(folder: Folder) -> None:
    folder.shell("echo 1 >/output/x")
    removed = folder.dlimg("rm", "--ended")
    assert removed.returncode == 0, removed.stderr
    assert (folder.path / "output/1/x").read_text() == "1\n"


def test_a_secret_is_nowhere_but_in_the_runs_memory(folder: Folder, engine: Engine) -> None:
    value = f"s3cret-{secrets.token_hex(8)} 你'\"$x"
    folder.variables["MY_TOKEN"] = value
    ended = folder.shell('echo "the token is $MY_TOKEN"', "--secret", "MY_TOKEN")
    assert ended.stdout == "the token is ***\n"
    api: Any = engine.sdk.api
    row = folder.status(1)
    configuration = json.dumps(api.inspect_container(row["container"]), ensure_ascii=False)
    assert value[:20] not in configuration
    state = Path(folder.variables["XDG_STATE_HOME"])
    assert all(value[:20] not in file.read_text() for file in state.rglob("*.json"))
    assert folder.dlimg("logs", folder.name, "--no-times").stdout == "the token is ***\n"
    del folder.variables["MY_TOKEN"]
    assert folder.dlimg("logs", folder.name).returncode == 1


@pytest.mark.slow
def test_a_secret_of_a_running_run_is_masked_without_the_variable(folder: Folder) -> None:
    folder.variables["MY_TOKEN"] = "s3cret-value"  # noqa: S105 - made up
    script = 'echo "$MY_TOKEN"; sleep 300'
    assert folder.shell(script, "-d", "--secret", "MY_TOKEN").returncode == 0
    del folder.variables["MY_TOKEN"]
    time.sleep(1)
    assert folder.dlimg("logs", folder.name, "--no-times").stdout == "***\n"
    inside = folder.dlimg("exec", folder.name, "--", "printenv", "MY_TOKEN")
    assert inside.stdout == "s3cret-value\n"


@pytest.fixture
def gpus() -> Iterator[str]:
    """The kind of two made-up GPUs that the engine knows for the time of a test."""
    kind = f"t{secrets.token_hex(4)}.example.com/gpu"
    file = Path("/var/run/cdi") / f"{kind.partition('.')[0]}.json"
    file.parent.mkdir(exist_ok=True)
    devices = [
        {"name": name, "containerEdits": {"env": [f"MADE_UP_GPU={name}"]}}
        for name in ("0", "1", "all")
    ]
    file.write_text(json.dumps({"cdiVersion": "0.6.0", "kind": kind, "devices": devices}))
    yield kind
    file.unlink()


def wait_for_device(engine: Engine, name: str) -> None:
    deadline = time.monotonic() + 30
    while all(d["ID"] != name for d in engine.sdk.info().get("DiscoveredDevices") or ()):
        assert time.monotonic() < deadline, name
        time.sleep(0.1)


def test_queued_runs_share_out_the_gpus(folder: Folder, gpus: str, engine: Engine) -> None:
    device = f"{gpus}=all"
    wait_for_device(engine, device)
    script = (
        "echo $MADE_UP_GPU $CUDA_VISIBLE_DEVICES; until [ -e /code/end$RUN ]; do sleep .1; done"
    )
    for number in (1, 2, 3):
        options = ("-d", "--queue", "--device", device, "-e", f"RUN={number}")
        started = folder.shell(script, *options)
        assert started.returncode == 0, started.stderr
        folder.wait(number, "running" if number < 3 else "waiting")
    assert {folder.status(number)["holds_gpu"] for number in (1, 2)} == {"0", "1"}
    assert folder.status(3)["holds_gpu"] is None
    (folder.path / "end1").touch()
    folder.wait(3, "running")
    for number in (2, 3):
        (folder.path / f"end{number}").touch()
        folder.wait(number, "ended")
    logs = [folder.dlimg("logs", f"{folder.name}:{n}", "--no-times").stdout for n in (1, 2, 3)]
    assert logs[2].splitlines()[-1] == logs[0].splitlines()[-1]
    assert {log.splitlines()[-1] for log in logs} == {"all 0", "all 1"}


def test_a_gpu_is_refused_where_there_is_none(folder: Folder, engine: Engine) -> None:
    known = [d["ID"] for d in engine.sdk.info().get("DiscoveredDevices") or ()]
    if any(name.startswith("nvidia.com/") for name in known):
        assert folder.shell("true", "--gpu").returncode == 0
        return
    ended = folder.shell("true", "--gpu")
    assert ended.returncode == 1
    assert "no GPU for this run" in ended.stderr
    assert "hint:" in ended.stderr
    assert folder.shell("true", "--device", "example.com/nothing=0").returncode == 2


def test_a_tag_that_does_not_exist_leaves_nothing(folder: Folder) -> None:
    ended = folder.shell("true", "--env", f"{folder.name}:1")
    # The second is the answer of a machine that does not reach Docker Hub.
    messages = {1: "there is no image", 5: "the engine cannot pull"}
    assert f"{messages[ended.returncode]} {folder.name}:1" in ended.stderr
    assert folder.dlimg("ps", "--format", "json").stdout.strip() == "[]"


def test_a_program_that_does_not_exist_is_named(folder: Folder) -> None:
    ended = folder.run(command=("no-such-program",))
    assert ended.returncode == 127
    assert "no-such-program" in ended.stderr


def test_a_run_out_of_memory_says_so(folder: Folder, engine: Engine) -> None:
    api: Any = engine.sdk.api
    (folder.path / "fill.py").write_text("print(len(b'x' * (300 << 20)))\n")
    folder.shell("until [ -e go ]; do sleep .1; done; exec python fill.py", "-d")
    api.update_container(folder.status(1)["container"], mem_limit="64m", memswap_limit="64m")
    (folder.path / "go").touch()
    folder.wait(1, "ended")
    row = folder.status(1)
    assert row["exit_code"] == 137
    assert row["remarks"] == ["the kernel killed one of its processes: out of memory"]


def test_a_full_disk_during_output_is_named(folder: Folder, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    run_checked(["mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "none", str(small)])
    try:
        ended = folder.shell("head -c 5000000 /dev/zero >/output/x", "--output", str(small))
        assert ended.returncode != 0
        assert "No space left" in ended.stderr
        assert f"the disk of its output is full: {small}" in ended.stderr
    finally:
        run_checked(["umount", "--lazy", str(small)])


def test_data_that_changed_during_a_run_is_named(folder: Folder, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    process = folder.start(
        "echo go; until [ -e /data/d/new ]; do sleep .1; done", "--data", f"{data}:d"
    )
    assert process.stdout
    assert process.stdout.readline() == "go\n"
    (data / "new").touch()
    _, log = process.communicate(timeout=30)
    assert f"data changed during the run: d ({data})" in log


@pytest.mark.slow
def test_two_runs_do_not_write_one_output(folder: Folder, tmp_path: Path) -> None:
    output = str(tmp_path / "results")
    assert folder.shell("sleep 300", "-d", "--output", output).returncode == 0
    ended = folder.shell("true", "--output", output)
    assert ended.returncode == 2
    assert f"{folder.name}:1 writes to {output} at this moment" in ended.stderr


def test_doctor_examines_the_engine_that_runs_use(folder: Folder, engine: Engine) -> None:
    ended = folder.dlimg("doctor", "--cpu", "--env", folder.image, "--format", "json")
    rows = {row["check"]: row for row in json.loads(ended.stdout)["findings"]}
    assert rows["engine"]["state"] == "ok"
    assert rows["engine"]["message"] == f"docker {engine.version}"


def test_a_port_that_is_taken_is_named(folder: Folder) -> None:
    serve: Callable[[], subprocess.CompletedProcess[str]] = lambda: folder.run(  # noqa: E731
        "-d", "-p", "18923:80", command=("python", "-m", "http.server", "80")
    )
    first = serve()
    assert first.returncode == 0
    assert "port 80 is at http://127.0.0.1:18923" in first.stderr
    ended = serve()
    assert ended.returncode == 2
    assert "port 18923 is taken on this machine" in ended.stderr
    assert len(json.loads(folder.dlimg("ps", "--format", "json").stdout)) == 1


def test_a_secret_in_the_command_is_warned_of(folder: Folder) -> None:
    ended = folder.run(command=("sh", "-c", "true", "--api-key=0123456789"))
    assert ended.returncode == 0
    assert "warning: the value of --api-key in the command looks like a secret" in ended.stderr


def test_stored_data_is_kept_for_runs_and_not_removed_while_used(
    folder: Folder, tmp_path: Path
) -> None:
    name = f"{folder.name}-d"
    data = tmp_path / "digits"
    data.mkdir()
    (data / "a b").write_text("1")
    added = folder.dlimg("data", "add", name, str(data))
    assert added.returncode == 0, added.stderr
    try:
        script = "cat '/data/x/a b'; touch /data/x/new || echo refused"
        ended = folder.shell(script, "--data", f"{name}:x")
        assert ended.stdout == "1refused\n"
        (row,) = [
            row
            for row in json.loads(folder.dlimg("data", "ls", "--format", "json").stdout)
            if row["name"] == name
        ]
        assert (row["files"], row["size"], row["used_by"]) == (1, 1, [f"{folder.name}:1"])
        refused = folder.dlimg("data", "rm", name)
        assert refused.returncode == 1
        assert f"{name} is used by {folder.name}:1" in refused.stderr
        assert folder.dlimg("data", "add", name, str(data)).returncode == 2
        assert folder.dlimg("rm", folder.name).returncode == 0
    finally:
        removed = folder.dlimg("data", "rm", name)
    assert removed.returncode == 0, removed.stderr
    assert folder.dlimg("data", "rm", name).returncode == 2


def test_a_projects_packages_are_locked_and_added_once(folder: Folder, engine: Engine) -> None:
    (folder.path / "dlimg.yaml").write_text(
        f"name: {folder.name}\nimage: {folder.image}\ngpu: false\n"
        "command: python -c 'import iniconfig, six; print(iniconfig.__file__)'; cat /marker\n"
        "packages: [iniconfig]\nsetup: echo '$set up' >/marker\n"
    )
    variables = {**folder.variables}
    try:
        first = dlimg("run", cwd=folder.path, variables=variables)
        assert first.returncode == 0, first.stderr
        assert first.stdout.splitlines()[1] == "$set up"
        assert "locking iniconfig" in first.stderr
        assert "adding to" in first.stderr
        lock = (folder.path / "dlimg.lock").read_text()
        (entry,) = json.loads(lock)["images"].values()
        assert [package["name"] for package in entry["locked"]] == ["iniconfig"]
        second = dlimg("up", cwd=folder.path, variables=variables)
        assert second.returncode == 0, second.stderr
        assert second.stdout == first.stdout
        assert "adding to" not in second.stderr
        assert (folder.path / "dlimg.lock").read_text() == lock
    finally:
        image = folder.status(1)["image"]
        for number in (1, 2):
            folder.dlimg("rm", "--force", f"{folder.name}:{number}")
        engine.sdk.images.remove(image, force=True)


@pytest.mark.slow
def test_a_project_goes_up_and_down(folder: Folder) -> None:
    (folder.path / "dlimg.yaml").write_text(
        f"name: {folder.name}\nenv: {folder.image}\ngpu: auto\n"
        "command: trap 'echo saved; exit 0' TERM; echo up; while :; do sleep .1; done\n"
    )
    assert dlimg("up", "-d", cwd=folder.path, variables=folder.variables).returncode == 0
    again = dlimg("up", "-d", cwd=folder.path, variables=folder.variables)
    assert f"{folder.name}:1 runs already" in again.stderr
    assert dlimg("down", cwd=folder.path, variables=folder.variables).returncode == 0
    lines = folder.dlimg("logs", folder.name, "--no-times").stdout.splitlines()
    assert lines[0] == "up"
    assert "saved" in lines  # the shell says on the other stream that its `sleep` was terminated
    assert folder.status(1)["exit_code"] == 0


def test_a_wrong_project_file_is_refused_with_its_line(folder: Folder) -> None:
    (folder.path / "dlimg.yaml").write_text("gpu: auto\ncomand: x\n")
    for command in ("run", "up", "down"):
        ended = dlimg(command, cwd=folder.path, variables=folder.variables)
        assert ended.returncode == 2
        assert "dlimg.yaml:2: unknown key 'comand'" in ended.stderr
        assert "did you mean 'command'?" in ended.stderr


def test_a_shell_in_a_terminal_and_attaching_to_a_run(folder: Folder) -> None:
    output = in_terminal(
        folder, folder.arguments("--terminal", command=()), "echo in $((6*7)); exit 3\n"
    )
    assert "in 42" in output
    assert folder.status(1)["exit_code"] == 3
    folder.shell("echo before; until [ -e end ]; do sleep .1; done; echo after", "-d")
    process = subprocess.Popen(
        [sys.executable, "-m", "dlimg", "attach", folder.name],
        env={**folder.variables, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "before\n"
    (folder.path / "end").touch()
    assert process.communicate(timeout=30)[0] == "after\n"
    assert folder.dlimg("attach", folder.name).returncode == 2


def in_terminal(folder: Folder, arguments: Sequence[str], typed: str) -> str:
    """The output of a command in a terminal of its own, into which this is typed."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dlimg", *arguments],
        cwd=folder.path,
        env={**folder.variables, "PYTHONPATH": str(ROOT), "TERM": "dumb"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    output, is_typed = b"", False
    # A terminal whose last program has ended cannot be read.
    with contextlib.suppress(OSError):
        while piece := os.read(master, 4096):
            output += piece
            if not is_typed and b"$ " in output.replace(b"# ", b"$ "):
                os.write(master, typed.encode())
                is_typed = True
    process.wait(timeout=60)
    os.close(master)
    return output.decode()


@pytest.mark.slow
def test_a_stop_gives_a_program_in_a_line_for_the_shell_time(folder: Folder) -> None:
    (folder.path / "save.py").write_text(
        "import signal, sys, time\n"
        "def save(*_):\n"
        "    time.sleep(1)\n"
        "    print('saved', flush=True)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "print('go', flush=True)\n"
        "time.sleep(300)\n"
    )
    arguments = folder.arguments(command=("python save.py; echo next",))
    process = subprocess.Popen(
        [sys.executable, "-m", "dlimg", *arguments],
        cwd=folder.path,
        env={**folder.variables, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "go\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("saved\n", 143)
    assert folder.status(1)["command"] == ["sh", "-c", "python save.py; echo next"]
