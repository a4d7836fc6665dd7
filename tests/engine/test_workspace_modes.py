"""Modes of the workspace flavour: sshd and Jupyter, who may enter, what listens, how it stops."""

import contextlib
import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult, run, run_checked
from tests.engine.test_cli import dlimg
from tests.support.rows import first_rows

pytestmark = pytest.mark.engine

CELL = "jax-0.12.0.1-cpu-py3.13-debian13-workspace"
TOKEN = secrets.token_hex(16)
OTHER_KEY = (
    "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAABAgMEBQYHCAkKCwwNDg8"
    "QERITFBUWFxgZGhscHR4fAAAABHNzaDo= a key  of somebody else"
)
# Variables that hosts give, one of them hard to quote.
GIVEN = {
    "MODEL": "a model",
    "SETTINGS": '{"a": ["b", "c\\\\n $HOME `id`"], "d": "#\'"}',
    "EMPTY": "",
}
# Of a shell, of a session, or of tini's child.
OF_SESSIONS = {"_", "SHLVL", "PWD", "OLDPWD", "TERM", "MAIL", "SHELL", "DLIMG_PATH"}
OF_SESSIONS |= {
    "LS_COLORS",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "JUPYTER_CONFIG_PATH",
    "PUBLIC_KEY",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A container, and ways into it."""

    engine: Engine
    name: str
    key: Path

    def docker(self, *argv: str, stdin: str | None = None, timeout: float = 180) -> ProcessResult:
        command = [str(self.engine.docker), *argv]
        return run(command, env=self.engine.environment, stdin=stdin, timeout=timeout)

    def inside(self, script: str, *options: str) -> str:
        done = self.docker("exec", *options, self.name, "bash", "-euc", script)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def port(self, inner: int) -> str:
        answer = self.docker("port", self.name, str(inner)).stdout
        return answer.split()[0].rpartition(":")[2]

    def client(self, inner: int = 2222) -> list[str]:
        """Return the start of a client's command line."""
        fixed = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
        settings = [f"-o{option}" for option in (*fixed, f"IdentityFile={self.key}")]
        return ["ssh", "-q", "-F", "none", *settings, "-p", self.port(inner)]

    def ssh(
        self, *command: str, options: tuple[str, ...] = (), inner: int = 2222, user: str = "user"
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.client(inner), *options, f"{user}@127.0.0.1", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    def says(self, *command: str, options: tuple[str, ...] = ()) -> str:
        done = self.ssh(*command, options=options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def log(self) -> str:
        done = self.docker("logs", self.name)
        return done.stdout + done.stderr

    def wait_for(self, *texts: str) -> None:
        deadline = time.monotonic() + 120
        while not all(text in self.log() for text in texts):
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def digest() -> str:
    """The built image."""
    ended = dlimg("build", CELL, "--format", "json")
    assert ended.returncode == 0, ended.stderr
    (line,) = json.loads(ended.stdout)
    return str(line["digest"])


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ssh") / "key"
    run_checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
    return path


@contextlib.contextmanager
def started(
    engine: Engine, digest: str, key: Path, *command: str, options: tuple[str, ...] = ()
) -> Iterator[Running]:
    name = f"dlimg-test-modes-{secrets.token_hex(4)}"
    running = Running(engine=engine, name=name, key=key)
    ports = ("--publish", "127.0.0.1::8888", "--publish", "127.0.0.1::2222")
    public = f"PUBLIC_KEY=# two\r\n{OTHER_KEY}\r\n{Path(f'{key}.pub').read_text()}"
    done = running.docker(
        *("run", "--detach", "--name", name, *ports, "--env", public),
        *("--env", f"JUPYTER_TOKEN={TOKEN}", *options, digest, *command),
    )
    try:
        assert done.returncode == 0, done.stderr
        yield running
    finally:
        running.docker("rm", "--force", "--volumes", name)


@pytest.fixture(scope="module")
def both(engine: Engine, digest: str, key: Path) -> Iterator[Running]:
    given = [word for name, value in GIVEN.items() for word in ("--env", f"{name}={value}")]
    with started(engine, digest, key, "both", options=tuple(given)) as running:
        running.wait_for("is running at", "Server listening on")
        yield running


def listeners(running: Running) -> set[tuple[str, int]]:
    """The addresses and ports on which something in the container listens."""
    rows = running.inside("cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6")
    opened = set()
    for row in rows.splitlines():
        fields = row.split()
        if fields[0] == "sl" or fields[3] not in ("0A", "07"):
            continue
        address, port = fields[1].split(":")
        is_local = address in ("0100007F", "00000000000000000000000001000000")
        opened.add(("loopback" if is_local else "public", int(port, 16)))
    return opened


def environment(text: str) -> dict[str, str]:
    """The variables of `env -0`, without those that differ between sessions."""
    pairs = (pair.partition("=") for pair in text.split("\0") if pair)
    return {name: value for name, _, value in pairs if name not in OF_SESSIONS}


def test_a_session_by_ssh_has_the_environment_of_the_container(both: Running) -> None:
    wanted = environment(both.inside("cat /proc/$(pgrep --oldest --parent 1)/environ"))
    assert GIVEN.items() <= wanted.items()
    assert wanted["PATH"].startswith("/home/user/env/bin:/opt/env/bin:/usr/local/sbin:")
    ways = {
        "command": both.says("env -0"),
        "login shell": both.says("bash -lc 'env -0'"),
        "interactive shell": both.says("bash -ic 'env -0' 2>/dev/null"),
        "interactive login": both.says("bash -lic 'env -0' 2>/dev/null"),
    }
    for way, text in ways.items():
        assert environment(text) == wanted, way


def test_only_the_key_opens_and_no_password(both: Running, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run_checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)])
    for options in (
        ("-oIdentitiesOnly=yes", f"-oIdentityFile={other}"),
        ("-oPubkeyAuthentication=no",),
    ):
        refused = Running(engine=both.engine, name=both.name, key=other)
        done = refused.ssh("true", options=options)
        assert done.returncode == 255
    methods = both.ssh("true", options=("-vvv", "-oPreferredAuthentications=none"))
    assert "Authentications that can continue: publickey\n" in methods.stderr
    assert (
        requests.get(f"http://127.0.0.1:{both.port(8888)}/api/contents", timeout=30).status_code
        == 403
    )


def test_the_tools_to_live_with_work(both: Running, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("import six; print('ran')\n")
    done = subprocess.run(
        [
            "rsync",
            "-e",
            " ".join(both.client()),
            str(tmp_path / "code.py"),
            "user@127.0.0.1:/code/",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    script = (
        "cd /code; git init -q .; git add code.py; git status --short; tmux -V; nano --version; "
        "less --version; curl --version; python -c 'import jax; print(jax.__name__)'; "
        "echo 'int main(){}' | g++ -x c++ - -o /tmp/a; /tmp/a"
    )
    text = both.says(script)
    for word in ("A  code.py", "tmux 3", "less 6", "nano", "curl 8", "jax"):
        assert word in text


def test_only_the_ports_of_the_modes_are_open(both: Running) -> None:
    public = {port for address, port in listeners(both) if address == "public"}
    assert public == {2222, 8888}
    assert both.inside("dlimg-healthcheck") == "Jupyter answers with 200"


@pytest.mark.parametrize(
    ("command", "ports"),
    first_rows([("ssh", {2222}), ("sleep 60", set())], 1, pytest.mark.slow),
)
def test_a_mode_opens_no_other_port(
    command: str, ports: set[int], engine: Engine, digest: str, key: Path
) -> None:
    with started(engine, digest, key, *command.split()) as running:
        if ports:
            running.wait_for("Server listening on")
        assert listeners(running) == {("public", port) for port in ports}
        assert running.inside("dlimg-healthcheck") == ""


# Each writes a file a second after SIGTERM, and says first that it is ready for it.
JOB = """
import signal, sys, time
from pathlib import Path
def save(*_):
    time.sleep(1)
    Path("/output/" + sys.argv[1]).write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
Path("/output/ready-" + sys.argv[1]).touch()
while True:
    time.sleep(0.1)
"""


def test_a_stop_reaches_the_jobs_of_all_sessions_and_waits_for_them(
    engine: Engine, digest: str, key: Path, tmp_path: Path
) -> None:
    (tmp_path / "output").mkdir(mode=0o777)
    (tmp_path / "output").chmod(0o777)
    (tmp_path / "job.py").write_text(JOB)
    mounts = ("-v", f"{tmp_path}/output:/output", "-v", f"{tmp_path}/job.py:/code/job.py:ro")
    with started(engine, digest, key, "both", options=mounts) as running:
        running.wait_for("is running at", "Server listening on")
        terminal_and_kernel(running)
        running.says("tmux new -d python /code/job.py tmux")
        running.says("tmux new -d 'bash -c \"python /code/job.py script; true\"'")
        running.says("nohup python /code/job.py nohup >/dev/null 2>&1 </dev/null &")
        session = subprocess.Popen(
            [*running.client(), "-tt", "user@127.0.0.1", "python /code/job.py session"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        running.docker("exec", "--detach", running.name, "python", "/code/job.py", "exec")
        names = {"tmux", "script", "nohup", "session", "exec", "terminal", "kernel"}
        deadline = time.monotonic() + 60
        while {path.name for path in (tmp_path / "output").iterdir()} != {
            f"ready-{n}" for n in names
        }:
            assert time.monotonic() < deadline, sorted((tmp_path / "output").iterdir())
            time.sleep(0.1)
        began = time.monotonic()
        running.docker("stop", "--time", "30", running.name)
        assert time.monotonic() - began < 25, running.log()
        session.wait(30)
        saved = {name for name in names if (tmp_path / "output" / name).exists()}
        assert saved == names, running.log()
        state = running.docker("inspect", "-f", "{{.State.ExitCode}}", running.name).stdout
        assert state.strip() == "0"


def wait_for_files(folder: Path, names: set[str]) -> None:
    deadline = time.monotonic() + 60
    while {path.name for path in folder.iterdir()} != names:
        assert time.monotonic() < deadline, sorted(folder.iterdir())
        time.sleep(0.1)


def terminal_and_kernel(running: Running) -> None:
    """Start the job in a terminal of Jupyter and in a notebook's kernel."""
    script = """
import json, os, urllib.request as request
from websocket import create_connection
token, at = os.environ["JUPYTER_TOKEN"], "127.0.0.1:8888"
def post(path, **body):
    data = json.dumps(body).encode()
    headers = {"Authorization": "token " + token}
    return json.load(request.urlopen(request.Request(f"http://{at}/api/{path}", data, headers)))
name = post("terminals")["name"]
terminal = create_connection(f"ws://{at}/terminals/websocket/{name}?token={token}")
terminal.send(json.dumps(["stdin", "python /code/job.py terminal\\r"]))
kernel = post("kernels")["id"]
channels = create_connection(f"ws://{at}/api/kernels/{kernel}/channels?token={token}")
code = "import sys; sys.argv = ['', 'kernel']; exec(open('/code/job.py').read())"
header = {"msg_id": "1", "msg_type": "execute_request", "session": "s", "username": ""}
content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
message = {"header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {}}
channels.send(json.dumps({**message, "content": content, "channel": "shell"}))
"""
    assert running.inside(f"python - <<'END'\n{script}\nEND\n") == ""


def ask(running: Running, path: str, **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business on loopback
        address = f"http://127.0.0.1:{running.port(8888)}{path}"
        return session.get(address, headers=headers, timeout=30)


def test_root_s_sshd_serves_root_and_the_user_with_keys_that_stay(
    engine: Engine, digest: str, key: Path
) -> None:
    volume = f"dlimg-test-{secrets.token_hex(4)}"
    options = ("--user", "0", "--publish", "127.0.0.1::22", "-v", f"{volume}:/root")
    seen = []
    try:
        for _ in range(2):
            with started(engine, digest, key, "ssh", options=options) as running:
                running.wait_for("Server listening on")
                for user, home in (("root", "/root"), ("user", "/home/user")):
                    done = running.ssh("id -un; pwd; echo $DLIMG_OVERLAY", inner=22, user=user)
                    assert done.stdout.split() == [user, home, "/home/user/env"], done.stderr
                assert listeners(running) == {("public", 22)}
                seen.append(running.log().partition("host key ")[2].split()[0])
        assert seen[0] == seen[1]
        assert seen[0].startswith("SHA256:")
    finally:
        Running(engine=engine, name="", key=key).docker("volume", "rm", "--force", volume)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--env", "PUBLIC_KEY="), "ssh needs a public key, and takes no passwords"),
        pytest.param(
            ("--user", "12345:0"),
            "sshd knows no user with the number 12345",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("--env", "PUBLIC_KEY=~/.ssh/id.pub"),
            "PUBLIC_KEY holds no public key",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_sshd_does_not_start_where_nobody_could_log_in(
    options: tuple[str, ...], sentence: str, engine: Engine, digest: str, key: Path
) -> None:
    with started(engine, digest, key, "ssh", options=options) as running:
        assert running.docker("wait", running.name).stdout.strip() == "2"
        assert sentence in running.log()


@pytest.mark.slow
def test_a_mounted_key_of_another_owner_opens_on_a_read_only_disk(
    engine: Engine, digest: str, key: Path, tmp_path: Path
) -> None:
    mounted = tmp_path / "authorized_keys"
    mounted.write_text(Path(f"{key}.pub").read_text())
    mounted.chmod(0o666)
    where = ("-v", f"{mounted}:/home/user/.ssh/authorized_keys:ro", "--env", "PUBLIC_KEY=")
    for more in ((), ("--read-only", "--tmpfs", "/tmp:exec")):  # noqa: S108  # in a container
        with started(engine, digest, key, "ssh", options=(*where, *more)) as running:
            running.wait_for("Server listening on")
            home = running.says("echo $HOME; python -c 'import jax'")
            assert home == ("/tmp/home-1000\n" if more else "/home/user\n")  # noqa: S108


@pytest.mark.slow
def test_a_notebook_of_kubeflow_is_under_its_prefix_for_every_origin(
    engine: Engine, digest: str, key: Path
) -> None:
    prefix = "/notebook/ns/name"
    pod = ("--env", f"NB_PREFIX={prefix}", "--env", "KUBERNETES_SERVICE_HOST=10.0.0.1")
    with started(engine, digest, key, options=(*pod, "--env", "JUPYTER_TOKEN=")) as running:
        running.wait_for("is running at")
        for path in (f"{prefix}/", f"{prefix}/lab", f"{prefix}/api/contents"):
            answer = ask(running, path)
            assert answer.status_code == 200, path
            assert answer.headers["Access-Control-Allow-Origin"] == "*", path
        assert ask(running, "/lab").status_code == 404
        assert running.inside("dlimg-healthcheck") == "Jupyter answers with 200"
    with started(engine, digest, key, options=pod[:2]) as running:
        running.wait_for("is running at")
        assert ask(running, f"{prefix}/api/contents").status_code == 403
        allowed = ask(running, f"{prefix}/api/contents", Authorization=f"token {TOKEN}")
        assert allowed.status_code == 200


@pytest.mark.slow
def test_colab_may_use_it_and_no_other_origin(engine: Engine, digest: str, key: Path) -> None:
    colab = "https://colab.research.google.com"
    with started(engine, digest, key, "jupyter", "--colab") as running:
        running.wait_for("is running at", f"http://localhost:8888/?token={TOKEN}")
        answer = ask(running, "/api/contents", Authorization=f"token {TOKEN}", Origin=colab)
        assert answer.headers["Access-Control-Allow-Origin"] == colab
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        done = running.docker("exec", running.name, "dlimg-jupyter", timeout=60)
        assert done.returncode != 0
        assert "8888" in done.stderr


def test_a_notebook_explains_what_pip_refuses_and_has_a_kernel_for_each_environment(
    both: Running,
) -> None:
    script = """\
dlimg-overlay --name theirs > /dev/null
python - <<'END'
from jupyter_client.manager import run_kernel
for name, command in (("python3", "%pip"), ("dlimg-theirs", "!pip")):
    with run_kernel(kernel_name=name) as client:
        for code in (f"{command} install --no-index jax==0.1", "import sys; print(sys.prefix)"):
            client.execute_interactive(code, timeout=60)
END
"""
    text = both.says(f"( {script} ) 2>&1")
    assert text.count("dlimg: jax==0.1 is refused: this image was built and tested with jax") == 2
    assert text.count("dlimg pick jax==0.1") == 2
    assert "/home/user/env\n" in text
    assert "/home/user/envs/theirs\n" in text


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jupyter", "both"])
def test_an_idle_jupyter_ends_its_container_and_a_job_does_not_let_it(
    mode: str, engine: Engine, digest: str, key: Path
) -> None:
    idle = ("--env", "DLIMG_IDLE=20s")
    with started(engine, digest, key, mode, options=idle) as running:
        running.wait_for("is running at")
        assert "ends by itself after 20s" in running.log()
        terminal = (
            "import json, os, urllib.request as r; r.urlopen(r.Request("
            "'http://127.0.0.1:8888/api/terminals', b'{}', "
            "{'Authorization': 'token ' + os.environ['JUPYTER_TOKEN']}))"
        )
        running.inside(f'python -c "{terminal}"')
        running.docker("exec", "--detach", running.name, "sleep", "150")
        began = time.monotonic()
        assert running.docker("wait", running.name, timeout=400).stdout.strip() == "0"
        assert time.monotonic() - began > 140
