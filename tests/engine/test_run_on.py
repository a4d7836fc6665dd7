"""Runs on another machine: a container with an ssh server and the engine of the tests."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from dlimg.engine.client import Engine
from dlimg.model import Base
from dlimg.run.find import this_origin
from dlimg.run.model import RUN_LABEL
from tests.engine.test_cli import ROOT, dlimg
from tests.support.http_server import served
from tests.support.layout_image import LayoutImage
from tests.support.package_source import DRIVER, nvidia_stand_ins
from tests.support.ssh_machine import SshMachine, free_port, machine_image, make_key, ssh_machine

pytestmark = [pytest.mark.engine, pytest.mark.remote]


@pytest.fixture(scope="module")
def image(engine: Engine, base: Base) -> str:
    return machine_image(engine, base)


@pytest.fixture(scope="module")
def machine(
    engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SshMachine]:
    with ssh_machine(engine, image, tmp_path_factory.mktemp("vm")) as machine:
        yield machine


class Laptop:
    """A folder of a user on a machine without an engine."""

    def __init__(self, path: Path, image: str, state: Path, machine: SshMachine) -> None:
        self.path = path
        self.image = image
        self.name = f"t{secrets.token_hex(4)}"
        self.machine = machine
        self.variables = {
            **os.environ,
            **machine.variables,
            "XDG_STATE_HOME": str(state),
            "XDG_CONFIG_HOME": str(state.parent / "config"),
            "DOCKER_HOST": "unix:///nothing/here.sock",
        }

    def arguments(self, *options: str, command: Sequence[str] = ()) -> tuple[str, ...]:
        given = ("--env", self.image, "--name", self.name, "--on", "vm")
        return ("run", *given, *options, "--", *command)

    def run(self, *options: str, command: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        return self.dlimg(*self.arguments(*options, command=command))

    def shell(self, script: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run(*options, command=("sh", "-c", script))

    def dlimg(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return dlimg(*arguments, cwd=self.path, variables={**self.variables, **variables})

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that goes on while the test does something."""
        return subprocess.Popen(
            [sys.executable, "-m", "dlimg", *arguments],
            cwd=self.path,
            env={**self.variables, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def status(self, number: int) -> dict[str, Any]:
        ended = self.dlimg("ps", "--on", "vm", "--format", "json")
        assert ended.returncode == 0, ended.stderr
        rows: dict[str, dict[str, Any]] = {row["run"]: row for row in json.loads(ended.stdout)}
        return rows[f"{self.name}:{number}"]


@pytest.fixture
def laptop(
    tmp_path: Path, engine: Engine, layout_image: LayoutImage, machine: SshMachine
) -> Iterator[Laptop]:
    path = tmp_path / "my 'first' $x 你好"
    path.mkdir()
    laptop = Laptop(path, layout_image.built.planned.reference, tmp_path / "state", machine)
    yield laptop
    api: Any = engine.sdk.api
    for row in api.containers(all=True, filters={"label": RUN_LABEL}):
        if row["Labels"][RUN_LABEL].rpartition(":")[0] == laptop.name:
            api.remove_container(row["Id"], force=True, v=True)


@pytest.mark.usual
def test_a_folder_becomes_a_result_on_another_machine(laptop: Laptop) -> None:
    (laptop.path / "train.py").write_text(
        "import pathlib, sys\n"
        "print('你好', pathlib.Path.cwd(), flush=True)\n"
        "print('to stderr', file=sys.stderr)\n"
        "pathlib.Path('/output/模型 $1.txt').write_text('learned')\n"
        "pathlib.Path('new \"file\".txt').write_text('written there')\n"
    )
    (laptop.path / ".gitignore").write_text("big.bin\n")
    (laptop.path / "big.bin").write_bytes(bytes(1000))
    ended = laptop.run()
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "你好 /code\n"
    assert "to stderr\n" in ended.stderr
    assert "sending 2 of 2 files" in ended.stderr
    assert "not sent, by the ignore file: big.bin" in ended.stderr
    assert (laptop.path / "output/1/模型 $1.txt").read_text() == "learned"
    assert (laptop.path / 'new "file".txt').read_text() == "written there"
    again = laptop.run()
    assert "sending 0 of 3 files" in again.stderr, again.stderr
    row = laptop.status(2)
    assert (row["state"], row["exit_code"]) == ("ended", 0)
    logs = laptop.dlimg("logs", "--no-times", f"{laptop.name}:2")
    assert sorted(logs.stdout.splitlines()) == ["to stderr", "你好 /code"], logs.stderr
    removed = laptop.dlimg("rm", "--force", f"{laptop.name}:2")
    assert removed.returncode == 0, removed.stderr
    folders = laptop.machine.inside(f"ls {laptop.machine.home}/dlimg-runs/*/output")
    assert folders.stdout.split() == ["1"]


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_run_outlives_its_connection_and_loses_no_line(laptop: Laptop) -> None:
    script = "for i in $(seq 1 40); do echo line $i; sleep 0.2; done; echo made >/output/a"
    followed = laptop.start(*laptop.arguments(command=("sh", "-c", script)))
    assert followed.stdout
    first = [followed.stdout.readline() for _ in range(5)]
    laptop.machine.drop_connections()
    rest, messages = followed.communicate(timeout=90)
    assert followed.returncode == 0, messages
    assert "".join(first) + rest == "".join(f"line {i}\n" for i in range(1, 41))
    assert "the run goes on there; connecting again" in messages
    assert "connected to vm again" in messages
    assert (laptop.path / "output/1/a").read_text() == "made\n"


def test_a_run_in_the_background_is_followed_stopped_and_fetched(laptop: Laptop) -> None:
    script = (
        "trap 'echo saved >/output/model; exit 3' TERM; echo started; while :; do sleep 0.1; done"
    )
    ended = laptop.shell(script, "-d")
    name = f"{laptop.name}:1"
    assert ended.stdout == f"{name}\n", ended.stderr
    wait_for(lambda: "started" in laptop.dlimg("logs", name).stdout)
    assert laptop.status(1)["state"] == "running"
    assert laptop.dlimg("ps", "--format", "json").stdout.count('"state": "unknown"') == 1
    inside = laptop.dlimg("exec", name, "--", "sh", "-c", "echo \"$DLIMG_RUN 'it' \\$x\"")
    assert inside.stdout == f"{name} 'it' $x\n", inside.stderr
    stopped = laptop.dlimg("stop", name)
    assert stopped.returncode == 0, stopped.stderr
    assert (laptop.path / "output/1/model").read_text() == "saved\n"
    assert laptop.status(1)["exit_code"] == 3


def test_a_run_is_found_from_another_laptop(laptop: Laptop, tmp_path: Path) -> None:
    laptop.shell("echo here; echo made >/output/a", "-d")
    name = f"{laptop.name}:1"
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "another")}
    wait_for(lambda: laptop.status(1)["state"] == "ended")
    listed = laptop.dlimg("ps", "--on", "vm", "--format", "json", **elsewhere)
    rows = {row["run"]: row for row in json.loads(listed.stdout)}
    assert (rows[name]["from"], rows[name]["exit_code"]) == (this_origin(), 0)
    assert laptop.status(1)["from"] is None
    logs = laptop.dlimg("logs", "--on", "vm", "--no-times", name, **elsewhere)
    assert logs.stdout == "here\n", logs.stderr
    fetched = laptop.dlimg("output", "--on", "vm", name, **elsewhere)
    assert fetched.returncode == 0, fetched.stderr
    assert (laptop.path / f"output/{laptop.name}-1-vm/a").read_text() == "made\n"
    for command in ("stop", "rm"):
        refused = laptop.dlimg(command, "--on", "vm", name, LOGNAME="ben", **elsewhere)
        assert refused.returncode == 1
        assert f"leaves {name} to {this_origin()}, who began it" in refused.stderr
    assert laptop.dlimg("rm", "--on", "vm", name, **elsewhere).returncode == 0
    assert laptop.dlimg("logs", name).returncode == 2


def test_data_at_an_address_is_fetched_by_the_machine_itself(laptop: Laptop) -> None:
    name = f"words-{laptop.name}"
    with served(Words) as address:
        options = ("--data", f"{address}/words.txt:{name}")
        ended = laptop.shell(f"cat /data/{name}/words.txt", *options)
        assert ended.stdout == "one two\n", ended.stderr
        assert f"{name}: fetching 1 file from {address}/words.txt, on vm" in ended.stderr
        assert laptop.shell("true", *options).returncode == 0
        assert Words.agents == ["curl"]
        missing = laptop.dlimg("data", "add", "--on", "vm", f"{name}-x", f"{address}/missing")
        assert (missing.returncode, "answers 404" in missing.stderr) == (1, True)
    assert (
        laptop.machine.inside(f"ls {laptop.machine.home}/dlimg-runs/fetched/*/files").stdout == ""
    )
    assert laptop.dlimg("rm", f"{laptop.name}:1", f"{laptop.name}:2").returncode == 0
    assert laptop.dlimg("data", "rm", "--on", "vm", name).returncode == 0


class Words(BaseHTTPRequestHandler):
    """Serves one file, and notes who fetches it."""

    agents: list[str] = []  # noqa: RUF012 - of all requests

    def do_GET(self) -> None:
        if self.path != "/words.txt":
            return self.send_error(404)
        self.agents.append(self.headers["User-Agent"].partition("/")[0])
        self.send_response(200)
        self.send_header("Content-Length", "8")
        self.end_headers()
        self.wfile.write(b"one two\n")
        return None

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def test_files_whose_names_are_no_utf8_go_there_and_back(laptop: Laptop) -> None:
    name = os.fsdecode(b"\xff.txt")
    (laptop.path / name).write_text("sent\n")
    ended = laptop.shell("for f in *.txt; do cp $f /output/; echo more >>$f; done")
    assert ended.returncode == 0, ended.stderr
    assert (laptop.path / "output/1" / name).read_text() == "sent\n"
    assert (laptop.path / name).read_text() == "sent\nmore\n"
    (laptop.path / name).unlink()
    again = laptop.shell("ls")
    assert again.stdout == "", again.stderr


def test_a_newer_file_here_stays(laptop: Laptop) -> None:
    (laptop.path / "notes.txt").write_text("first\n")
    laptop.shell("echo there >>/code/notes.txt; echo there >/output/a", "-d")
    name = f"{laptop.name}:1"
    wait_for(lambda: laptop.status(1)["state"] == "ended")
    (laptop.path / "notes.txt").write_text("edited here\n")
    output = laptop.path / "output/1/a"
    output.write_text("mine\n")
    os.utime(output, (time.time() + 100, time.time() + 100))
    fetched = laptop.dlimg("output", name)
    assert fetched.returncode == 0, fetched.stderr
    assert (laptop.path / "notes.txt").read_text() == "edited here\n"
    assert output.read_text() == "mine\n"
    assert fetched.stderr.count("is newer here, and stays as it is") == 2


def test_without_rsync_files_go_by_tar(laptop: Laptop) -> None:
    laptop.machine.inside("mv /usr/bin/rsync /usr/bin/rsync.away")
    try:
        (laptop.path / "a $x 'b'").mkdir()
        (laptop.path / "a $x 'b'/你好.py").write_text("print('by tar')\n")
        (laptop.path / "link.py").symlink_to("a $x 'b'/你好.py")
        ended = laptop.run(command=("python", "link.py"))
        assert ended.stdout == "by tar\n", ended.stderr
        again = laptop.shell("cp link.py /output/'ü 1'")
        assert "sending 0 of 2 files" in again.stderr
        assert (laptop.path / "output/2/ü 1").read_text() == "print('by tar')\n"
    finally:
        laptop.machine.inside("mv /usr/bin/rsync.away /usr/bin/rsync")


def test_a_file_that_is_gone_here_is_removed_there(laptop: Laptop) -> None:
    (laptop.path / "old.py").write_text("")
    (laptop.path / "new.py").write_text("")
    laptop.shell("touch made-there.log")
    (laptop.path / "old.py").unlink()
    ended = laptop.shell("ls")
    assert ended.stdout.split() == ["made-there.log", "new.py"], ended.stderr


def test_data_and_an_earlier_output_are_there(laptop: Laptop, tmp_path: Path) -> None:
    data = tmp_path / "data 1"
    data.mkdir()
    (data / "ä.csv").write_text("1,2\n")
    laptop.shell("echo model >/output/weights")
    script = "cat /data/numbers/ä.csv /input/numbers/ä.csv /data/before/weights"
    options = ("--data", f"{data}:numbers", "--data", f"{laptop.name}:1/output:before")
    ended = laptop.shell(script, *options)
    assert ended.stdout == "1,2\n1,2\nmodel\n", ended.stderr


def test_a_port_there_is_reached_by_a_tunnel_that_ends_with_the_command(laptop: Laptop) -> None:
    port = free_port()
    command = ("python", "-m", "http.server", "8000")
    arguments = laptop.arguments("--port", f"{port}:8000", command=command)
    followed = laptop.start(*arguments)
    assert followed.stderr
    lines = iter(followed.stderr.readline, "")
    assert any(f"port 8000 is at http://127.0.0.1:{port}" in line for line in lines)
    wait_for(lambda: answers(port))
    followed.send_signal(signal.SIGINT)
    followed.communicate(timeout=60)
    assert not answers(port)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_a_port_that_is_taken_here_is_refused(laptop: Laptop) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = laptop.shell("true", "--port", f"{port}:80")
    assert ended.returncode == 2
    assert f"port {port} is taken on this machine" in ended.stderr


def test_changes_are_sent_while_a_run_goes_on(laptop: Laptop) -> None:
    (laptop.path / "watched.txt").write_text("old\n")
    script = "until grep -q new watched.txt; do sleep 0.2; done; echo seen"
    followed = laptop.start(*laptop.arguments("--sync", command=("sh", "-c", script)))
    wait_for(lambda: bool(laptop.dlimg("ps", "--on", "vm", "--running").stdout))
    (laptop.path / "watched.txt").write_text("new!\n")
    out, messages = followed.communicate(timeout=90)
    assert out == "seen\n", messages


def test_a_broken_transfer_is_told_and_goes_on(laptop: Laptop) -> None:
    (laptop.path / "big.bin").write_bytes(os.urandom(2**20) * 600)
    sending = laptop.start(*laptop.arguments(command=("sh", "-c", "ls -s big.bin")))
    assert sending.stderr
    assert any("sending 1 of 1 file" in line for line in iter(sending.stderr.readline, ""))
    time.sleep(0.3)
    laptop.machine.drop_connections()
    _, messages = sending.communicate(timeout=90)
    assert sending.returncode == 5, messages
    assert "the same command goes on where it stopped" in messages
    ended = laptop.shell("stat -c %s big.bin")
    assert ended.stdout == f"{600 * 2**20}\n", ended.stderr


def test_a_host_key_that_changed_is_refused(laptop: Laptop, tmp_path: Path) -> None:
    known = (laptop.machine.folder / "known").read_text()
    try:
        laptop.machine.know(make_key(tmp_path / "other"))
        ended = laptop.shell("true")
        assert ended.returncode == 5
        assert "the host key of vm has changed" in ended.stderr
        assert "ssh-keygen -R vm" in ended.stderr
    finally:
        (laptop.machine.folder / "known").write_text(known)


def test_a_key_that_is_not_allowed_is_refused(laptop: Laptop, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    laptop.machine.write_config(IdentityFile=f'"{tmp_path}/stranger"')
    try:
        ended = laptop.shell("true")
    finally:
        laptop.machine.write_config()
    assert ended.returncode == 5
    assert "vm refuses this user or key" in ended.stderr
    assert "ssh-copy-id vm" in ended.stderr


def test_without_ssh_here_there_is_a_remedy(laptop: Laptop) -> None:
    ended = laptop.dlimg(
        *laptop.arguments(command=("true",)), PATH=str(Path(sys.executable).parent)
    )
    assert ended.returncode == 5
    assert "there is no ssh here" in ended.stderr
    assert "openssh-client" in ended.stderr


def test_a_tag_that_does_not_exist_there_is_named(laptop: Laptop) -> None:
    ended = laptop.dlimg("run", "--on", "vm", "--env", "dlimg-test/none:1", "--", "true")
    assert ended.returncode != 0
    assert "dlimg-test/none:1" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture
def gpu(engine: Engine) -> Iterator[str]:
    """The CDI name of a made-up GPU, whose lock no other run takes."""
    name = f"t{secrets.token_hex(4)}"
    kind = f"{name}.example.com/gpu"
    file = Path("/var/run/cdi") / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    devices = [{"name": name, "containerEdits": {"env": ["MADE_UP_GPU=here"]}}]
    file.write_text(json.dumps({"cdiVersion": "0.6.0", "kind": kind, "devices": devices}))
    try:
        wait_for(lambda: kind in json.dumps(engine.sdk.info().get("DiscoveredDevices")))
        yield f"{kind}={name}"
    finally:
        file.unlink()


def test_a_device_is_given_by_the_name_that_the_engine_there_has(laptop: Laptop, gpu: str) -> None:
    ended = laptop.shell("echo $MADE_UP_GPU", "--device", gpu)
    assert ended.stdout == "here\n", ended.stderr
    refused = laptop.shell("true", "--device", f"{gpu}1")
    assert refused.returncode == 2
    assert f"the engine has no device {gpu}1" in refused.stderr


def test_a_run_that_waits_for_its_gpu_is_shown_as_waiting(
    laptop: Laptop, gpu: str, engine: Engine, image: str, tmp_path: Path
) -> None:
    """On a new machine, whose folder for all users' locks cannot be written to."""
    (tmp_path / "locks").mkdir()
    locks = f"--volume={tmp_path}/locks:/run/lock/dlimg-gpus:ro"
    with ssh_machine(engine, image, tmp_path / "new", locks) as machine:
        laptop.variables |= machine.variables
        script = "until [ -e /output/end ]; do sleep .1; done"
        for number in (1, 2):
            started = laptop.shell(script, "-d", "--queue", "--device", gpu)
            assert started.returncode == 0, started.stderr
            state = ("running", "waiting")[number - 1]
            wait_for(lambda: laptop.status(number)["state"] == state)  # noqa: B023 - called here
        assert laptop.status(1)["holds_gpu"] == gpu.partition("=")[2]
        assert laptop.status(2)["holds_gpu"] is None
        assert laptop.dlimg("rm", "--force", f"{laptop.name}:1").returncode == 0
        wait_for(lambda: laptop.status(2)["state"] == "running")
        (note,) = (machine.home / ".dlimg-gpus").glob("run-*")
        assert note.read_text() == f"{gpu.partition('=')[2]}\n"
        assert laptop.dlimg("rm", "--force", f"{laptop.name}:2").returncode == 0
        assert not note.exists()


def test_a_gpu_is_refused_where_the_machine_has_none(laptop: Laptop) -> None:
    ended = laptop.shell("true", "--gpu")
    assert ended.returncode == 1
    assert "no GPU for this run" in ended.stderr


def test_a_secret_is_in_the_run_and_nowhere_else(laptop: Laptop) -> None:
    arguments = laptop.arguments(
        "--secret", "KEY_OF_TEST", command=("sh", "-c", "echo $KEY_OF_TEST")
    )
    ended = laptop.dlimg(*arguments, KEY_OF_TEST="hush-hush-1234")
    assert ended.stdout == "***\n", ended.stderr
    shown = laptop.machine.engine.sdk.api.inspect_container(f"dlimg-{laptop.name}-1")
    assert "hush-hush-1234" not in json.dumps(shown)


def test_the_doctor_finds_the_engine_and_that_the_registry_is_unknown(laptop: Laptop) -> None:
    options = ("--cpu", "--env", "registry.invalid/image:1", "--format", "json")
    ended = laptop.dlimg("doctor", "--on", "vm", *options)
    rows = {row["check"]: row for row in json.loads(ended.stdout)["findings"]}
    assert rows["engine"]["state"] == "ok", ended.stderr
    assert rows["clock"]["state"] == "ok"
    assert rows["network"]["state"] == "failed"
    assert rows["system"]["message"].startswith("debian 13")


def test_a_machine_without_docker_is_named_with_its_remedy(
    engine: Engine, image: str, tmp_path: Path, laptop: Laptop
) -> None:
    with ssh_machine(engine, image, tmp_path / "bare", docker=False) as bare:
        ended = laptop.dlimg(*laptop.arguments(command=("true",)), **bare.variables)
        assert ended.returncode == 4
        assert "vm: it has no docker" in ended.stderr
        assert "dlimg doctor --on vm" in ended.stderr
        doctor = laptop.dlimg("doctor", "--on", "vm", "--cpu", "--fix", **bare.variables)
        assert doctor.returncode == 1
        assert (
            "install -y --no-install-recommends docker.io docker-cli docker-buildx rsync"
            in doctor.stdout
        )


def test_a_full_disk_there_is_named(
    engine: Engine, image: str, tmp_path: Path, laptop: Laptop
) -> None:
    folder = tmp_path / "full"
    small = f"--tmpfs={folder}/home/dlimg-runs:size=1m"
    (laptop.path / "big.bin").write_bytes(os.urandom(2**22))
    with ssh_machine(engine, image, folder, small) as full:
        ended = laptop.dlimg(*laptop.arguments(command=("true",)), **full.variables)
    assert ended.returncode == 1
    assert "its disk is full" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_data_stored_on_another_machine_is_there_for_its_runs(laptop: Laptop) -> None:
    name = f"digits-{laptop.name}"
    source = laptop.path / "big data"
    (source / "train").mkdir(parents=True)
    (source / "train/你好 $1.txt").write_text("learn this")
    add = ("data", "add", "--on", "vm", name, str(source))
    added = laptop.dlimg(*add)
    assert added.returncode == 0, added.stderr
    assert f"`dlimg run --on vm --data {name}` has it at /data/{name}" in added.stderr
    again = laptop.dlimg(*add)
    assert again.returncode == 2
    assert f"`dlimg data rm --on vm {name}` first" in again.stderr
    script = f"cat /data/{name}/train/*; echo; cat /{name}/train/*; touch /data/{name}/new"
    ended = laptop.shell(script, "--data", name)
    assert ended.stdout == "learn this\nlearn this", ended.stderr
    assert "Read-only file system" in ended.stderr
    used = laptop.dlimg("data", "rm", "--on", "vm", name)
    assert used.returncode == 1
    assert f"{name} is used by {laptop.name}:1" in used.stderr
    assert laptop.dlimg("rm", f"{laptop.name}:1").returncode == 0
    assert name in stored_there(laptop)
    assert laptop.dlimg("data", "rm", "--on", "vm", name).returncode == 0
    assert name not in stored_there(laptop)
    missing = laptop.shell("true", "--data", name)
    assert missing.returncode == 2
    assert f"there is no data {name}" in missing.stderr


def test_data_that_another_machine_does_not_take_leaves_nothing_there(laptop: Laptop) -> None:
    name = f"gone-{laptop.name}"
    refused = laptop.dlimg("data", "add", "--on", "vm", name, str(laptop.path / "nothing"))
    assert refused.returncode == 2
    assert name not in stored_there(laptop)
    nowhere = laptop.dlimg("data", "ls", "--on", "nowhere.invalid")
    assert nowhere.returncode == 5, nowhere.stderr
    assert "nowhere.invalid" in nowhere.stderr


def stored_there(laptop: Laptop) -> set[str]:
    listed = laptop.dlimg("data", "ls", "--on", "vm", "--format", "json")
    assert listed.returncode == 0, listed.stderr
    return {row["name"] for row in json.loads(listed.stdout)}


def test_driver_and_toolkit_are_installed_from_signed_sources_where_asked(
    engine: Engine, image: str, tmp_path: Path, laptop: Laptop
) -> None:
    gpu = tmp_path / "pci/0000:00:04.0"
    gpu.mkdir(parents=True)
    for name, text in (("vendor", "0x10de"), ("class", "0x030200"), ("device", "0x1eb8")):
        (gpu / name).write_text(f"{text}\n")
    pci = f"--volume={tmp_path}/pci:/sys/bus/pci/devices:ro"
    arguments = ("doctor", "--on", "vm", "--env", "pytorch", "--fix", "--format", "json")
    with (
        nvidia_stand_ins(tmp_path / "source", "debian13") as source,
        ssh_machine(engine, image, tmp_path / "bare", pci) as bare,
    ):
        variables = {**bare.variables, "DLIMG_NVIDIA_SOURCES": source.address}
        bare.inside("ln -s /bin/true /usr/local/bin/systemctl")
        planned = json.loads(laptop.dlimg(*arguments, **variables).stdout)
        assert [step["name"] for step in planned["plan"]] == [
            "NVIDIA's driver, branch 580",
            "NVIDIA's container toolkit",
            "GPUs in the engine",
            "the CDI file",
        ]
        assert bare.inside("command -v nvidia-smi").returncode != 0
        ended = laptop.dlimg(*arguments, "--yes", **variables)
        rows = {row["check"]: row for row in json.loads(ended.stdout)["findings"]}
        for check in ("driver", "driver floor", "container toolkit", "CDI file"):
            assert rows[check]["state"] == "ok", ended.stderr
        assert rows["driver"]["message"] == f"{DRIVER} is loaded"
        assert "nvidia" in bare.inside("cat /etc/docker/daemon.json").stdout
        again = json.loads(laptop.dlimg(*arguments, **variables).stdout)
        # The engine of the tests is not the one whose setting was written.
        assert [step["name"] for step in again["plan"]] == ["GPUs in the engine"]


def test_a_source_with_another_signature_installs_nothing(
    engine: Engine, image: str, tmp_path: Path, laptop: Laptop
) -> None:
    arguments = ("doctor", "--on", "vm", "--env", "pytorch", "--fix", "--yes")
    gpu = tmp_path / "pci/0000:00:04.0"
    gpu.mkdir(parents=True)
    for name, text in (("vendor", "0x10de"), ("class", "0x030200"), ("device", "0x1eb8")):
        (gpu / name).write_text(f"{text}\n")
    pci = f"--volume={tmp_path}/pci:/sys/bus/pci/devices:ro"
    with (
        nvidia_stand_ins(tmp_path / "source", "debian13") as source,
        ssh_machine(engine, image, tmp_path / "bare", pci) as bare,
    ):
        packages = source.folder / "drivers/debian13/x86_64/Packages"
        packages.write_text(packages.read_text().replace("a stand-in", "another one"))
        variables = {**bare.variables, "DLIMG_NVIDIA_SOURCES": source.address}
        ended = laptop.dlimg(*arguments, **variables)
        assert ended.returncode == 1
        assert "NVIDIA's driver, branch 580: ended with" in ended.stderr
        assert bare.inside("command -v nvidia-smi").returncode != 0


def test_a_tunnel_without_a_shared_connection_ends_with_its_process(machine: SshMachine) -> None:
    port = free_port()
    code = (
        "import os, socket\n"
        "from dlimg.host.ssh import SshHost\n"
        f"options = ('-F', {str(machine.config)!r})\n"
        "host = SshHost(destination='vm', environment=os.environ, options=options)\n"
        f"print(host.forward({port}, {machine.port}))\n"
        f"print(socket.create_connection(('127.0.0.1', {port}), timeout=10).recv(4))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "\nb'SSH-'\n", ended.stderr
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_project_goes_up_and_down_on_another_machine(laptop: Laptop) -> None:
    (laptop.path / "dlimg.yaml").write_text(
        f"name: {laptop.name}\nimage: {laptop.image}\ngpu: false\n"
        "command: trap 'echo saved >/output/a; exit 0' TERM; echo up; while :; do sleep .1; done\n"
    )
    up = laptop.dlimg("up", "--on", "vm", "-d")
    assert up.returncode == 0, up.stderr
    wait_for(lambda: "up" in laptop.dlimg("logs", laptop.name).stdout)
    again = laptop.dlimg("up", "--on", "vm", "-d")
    assert f"{laptop.name}:1 runs already" in again.stderr
    down = laptop.dlimg("down", "--on", "vm")
    assert down.returncode == 0, down.stderr
    assert (laptop.path / "output/1/a").read_text() == "saved\n"
