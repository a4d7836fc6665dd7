"""The workspace flavour answers on its port, to those who have the token, and says how it is."""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from docker.models.containers import Container

from dlimg.engine.client import Engine
from dlimg.render.image_config import NOTEBOOK_PORT
from tests.engine.test_cli import dlimg
from tests.support.rows import first_rows, first_values

pytestmark = pytest.mark.engine

CELL = "jax-0.12.0.1-cpu-py3.13-debian13-workspace"
TOKEN = secrets.token_hex(16)


@pytest.fixture(scope="module")
def digest() -> str:
    """The built image."""
    ended = dlimg("build", CELL, "--format", "json")
    assert ended.returncode == 0, ended.stderr
    (line,) = json.loads(ended.stdout)
    return str(line["digest"])


@contextlib.contextmanager
def running(
    engine: Engine, digest: str, *command: str, serves: bool = True, **options: Any
) -> Iterator[Container]:
    """A container of the image, whose Jupyter answers already."""
    variables = {"JUPYTER_TOKEN": TOKEN, **options.pop("environment", {})}
    container = engine.sdk.containers.run(
        digest, list(command) or None, detach=True, environment=variables, **options
    )
    try:
        deadline = time.monotonic() + 180
        while serves and "is running at" not in container.logs().decode():
            assert time.monotonic() < deadline, container.logs().decode()
            time.sleep(0.1)
        container.reload()
        yield container
    finally:
        container.remove(force=True)


def published(container: Container, port: str) -> str:
    host_port = container.attrs["NetworkSettings"]["Ports"][port][0]["HostPort"]
    return f"http://127.0.0.1:{host_port}"


@pytest.fixture(scope="module")
def address(engine: Engine, digest: str) -> Iterator[str]:
    """Where a notebook of the built image answers, on loopback."""
    port = f"{NOTEBOOK_PORT}/tcp"
    with running(engine, digest, ports={port: ("127.0.0.1", None)}) as container:
        yield published(container, port)


def ask(address: str, path: str, **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business on loopback
        return session.get(f"{address}{path}", headers=headers, timeout=30)


def test_without_the_token_it_tells_nothing(address: str) -> None:
    assert ask(address, "/api/contents").status_code == 403


def test_with_the_token_it_shows_the_working_folder_and_the_lab(address: str) -> None:
    allowed = {"Authorization": f"token {TOKEN}"}
    assert ask(address, "/api/contents", **allowed).json()["content"] == []
    lab = ask(address, "/lab", **allowed)
    assert lab.status_code == 200
    assert "JupyterLab" in lab.text


def test_its_kernel_is_the_image_s_python(address: str) -> None:
    result = ask(address, "/api/kernelspecs", Authorization=f"token {TOKEN}").json()
    assert result["default"] == "python3"


@pytest.mark.parametrize(
    "command",
    first_values([("jupyter", "notebook"), (), ("jupyter", "server")], 1, pytest.mark.slow),
)
def test_every_server_is_heard_from_outside_on_the_port_that_is_named(
    command: tuple[str, ...], engine: Engine, digest: str
) -> None:
    options: dict[str, Any] = {
        "environment": {"JUPYTER_PORT": "9999"},
        "ports": {"9999/tcp": ("127.0.0.1", None)},
    }
    with running(engine, digest, *command, **options) as container:
        at = published(container, "9999/tcp")
        assert ask(at, "/api/contents", Authorization=f"token {TOKEN}").status_code == 200
        if command == ("jupyter", "notebook"):
            tree = ask(at, "/tree", Authorization=f"token {TOKEN}")
            assert tree.status_code == 200
            assert "Jupyter Notebook" in tree.text or "/static/notebook/" in tree.text
        for host in ("127.0.0.1", "[::1]"):
            script = f"from urllib import request; request.urlopen('http://{host}:9999/api').read()"
            ended = container.exec_run(["python", "-c", script])
            assert ended.exit_code == 0, ended.output.decode()


@pytest.mark.slow
def test_a_terminal_of_a_notebook_is_bash(engine: Engine, digest: str) -> None:
    port = f"{NOTEBOOK_PORT}/tcp"
    options: dict[str, Any] = {"ports": {port: ("127.0.0.1", None)}, "user": "12345:0"}
    with running(engine, digest, **options) as container:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                f"{published(container, port)}/api/terminals",
                headers={"Authorization": f"token {TOKEN}"},
                timeout=30,
            )
        assert answer.status_code == 200, answer.text
        named = container.exec_run(["sh", "-c", "cat /proc/[0-9]*/comm"]).output.decode().split()
    assert "bash" in named


# How a container is started, and whether a Jupyter runs in it that is asked.
STARTS: list[tuple[str, dict[str, Any]]] = [
    ("", {"user": "12345:0"}),
    ("", {}),
    ("jupyter lab --ServerApp.base_url=/some/where/", {}),
    ("", {"environment": {"JUPYTER_PORT": "9999"}}),
    ("jupyter server --ServerApp.sock=/tmp/socket", {}),
    ("", {"user": "0"}),
    ("", {"init": True}),
    ("", {"read_only": True, "tmpfs": {"/tmp": "exec"}}),  # noqa: S108  # in a container
    ("jupyter notebook --port 7777", {}),
    ("jupyter-lab --ip=127.0.0.1", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "options"),
    STARTS,
    ids=str,
)
def test_a_jupyter_is_healthy_until_it_does_not_answer(
    command: str, options: dict[str, Any], engine: Engine, digest: str
) -> None:
    with running(engine, digest, *command.split(), **options) as container:
        ended = container.exec_run(["dlimg-healthcheck"])
        assert ended.exit_code == 0, ended.output.decode()
        assert ended.output == b"Jupyter answers with 200\n"
        _stop_jupyter(container)
        ended = container.exec_run(["dlimg-healthcheck"])
        assert ended.exit_code == 1
        assert b"Jupyter does not answer" in ended.output


def _stop_jupyter(container: Container) -> None:
    """Jupyter is there, and does nothing any more."""
    script = """
for process in /proc/[0-9]*; do
    [ "${process#/proc/}" != $$ ] || continue # its own text has these words
    case $(tr '\\0' ' ' <"$process/cmdline") in
        */python*' '*/bin/jupyter-*) kill -STOP "${process#/proc/}" ;;
    esac
done 2>/dev/null; true"""
    assert container.exec_run(["sh", "-c", script], user="0").exit_code == 0


@pytest.mark.parametrize(
    ("command", "options"),
    first_rows(
        [
            (("sh", "-c", "jupyter --version; sleep 1000"), {}),
            (("sleep", "1000"), {}),
            (("python", "-c", "import time; time.sleep(1000)"), {}),
            (("jupyter", "lab"), {"entrypoint": ["sh", "-c", "sleep 1000"]}),
        ],
        1,
        pytest.mark.slow,
    ),
    ids=str,
)
def test_another_command_is_healthy(
    command: tuple[str, ...], options: dict[str, Any], engine: Engine, digest: str
) -> None:
    with running(engine, digest, *command, serves=False, **options) as container:
        ended = container.exec_run(["dlimg-healthcheck"])
        assert (ended.exit_code, ended.output) == (0, b"")


@pytest.mark.slow
def test_the_engine_reports_the_health_of_the_notebook(engine: Engine, digest: str) -> None:
    """By the check in the image's config, asked more often."""
    often = {"interval": 10**9, "timeout": 2 * 10**9, "retries": 1, "start_period": 0}
    with running(engine, digest, healthcheck=often) as container:
        assert health(container, lambda status: status == "healthy")
        _stop_jupyter(container)
        assert health(container, lambda status: status == "unhealthy")
    with running(engine, digest, "sleep", "1000", serves=False, healthcheck=often) as container:
        assert health(container, lambda status: status == "healthy")


def health(container: Container, is_it: Callable[[str], bool]) -> bool:
    """Whether the engine comes to say this of the container within half a minute."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        container.reload()
        if is_it(container.attrs["State"]["Health"]["Status"]):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_the_health_check_is_cheap(engine: Engine, digest: str) -> None:
    with running(engine, digest) as container:
        # Seconds of processors, which other programs of this machine do not lengthen.
        line = "import os; print(sum(os.times()[2:4]))"
        asks = f"import subprocess; subprocess.run(['dlimg-healthcheck'], check=True); {line}"
        result = container.exec_run(["python", "-c", asks])
        assert result.exit_code == 0, result.output
        assert float(result.output.split()[-1]) < 0.5


def answer_of(url: str, is_enough: Callable[[requests.Response], bool]) -> requests.Response:
    """The answer of a server that may still be starting."""
    deadline = time.monotonic() + 180
    while True:
        assert time.monotonic() < deadline, url
        with contextlib.suppress(requests.ConnectionError):
            answer = requests.get(url, timeout=10)
            if is_enough(answer):
                return answer
        time.sleep(0.2)


def test_a_folder_becomes_a_notebook_by_one_line(digest: str, tmp_path: Path) -> None:
    assert digest
    (tmp_path / "mine.ipynb").write_text("{}")
    variables = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    arguments = (
        "run",
        "-d",
        "--name",
        f"t{secrets.token_hex(4)}",
        "--env",
        CELL,
        "--mode",
        "jupyter",
    )
    started = dlimg(*arguments, cwd=tmp_path, variables=variables)
    name = started.stdout.strip()
    try:
        assert started.returncode == 0, started.stderr
        line = next(line for line in started.stderr.splitlines() if line.startswith("Jupyter: "))
        place, _, token = line.removeprefix("Jupyter: ").partition("/lab?token=")
        assert place.startswith("http://127.0.0.1:")
        contents = f"{place}/api/contents"
        assert answer_of(f"{contents}?token={token}", lambda a: "mine.ipynb" in a.text).ok
        assert answer_of(contents, lambda answer: not answer.ok).status_code == 403
        (tmp_path / "dlimg.yaml").write_text(
            f"name: {name.partition(':')[0]}\nimage: {CELL}\nmode: jupyter\n"
        )
        again = dlimg("up", "-d", cwd=tmp_path, variables=variables)
        assert line in again.stderr.splitlines()  # the token is asked of the container
        row = json.loads(dlimg("ps", "--format", "json", variables=variables).stdout)[0]
        assert token not in json.dumps(row)
    finally:
        dlimg("rm", "--force", name, variables=variables)
