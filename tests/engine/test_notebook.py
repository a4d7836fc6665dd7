"""The notebook flavour answers on its port, to those who have the token."""

import json
import secrets
import time
from collections.abc import Iterator

import pytest
import requests
from test_walk import dlimg

from dlimg.engine.client import Engine
from dlimg.run.command import NOTEBOOK_PORT

pytestmark = pytest.mark.engine

CELL = "jax-0.12.0.1-cpu-py3.13-debian13-notebook"
TOKEN = secrets.token_hex(16)


@pytest.fixture(scope="module")
def address(engine: Engine) -> Iterator[str]:
    """Where a notebook of the built image answers, on loopback."""
    ended = dlimg("build", CELL, "--format", "json")
    assert ended.returncode == 0, ended.stderr
    (line,) = json.loads(ended.stdout)
    port = f"{NOTEBOOK_PORT}/tcp"
    container = engine.sdk.containers.run(
        line["digest"],
        detach=True,
        environment={"JUPYTER_TOKEN": TOKEN},
        ports={port: ("127.0.0.1", None)},
    )
    try:
        deadline = time.monotonic() + 180
        while "is running at" not in container.logs().decode():
            assert time.monotonic() < deadline, container.logs().decode()
            time.sleep(0.5)
        container.reload()
        published = container.attrs["NetworkSettings"]["Ports"][port][0]["HostPort"]
        yield f"http://127.0.0.1:{published}"
    finally:
        container.remove(force=True)


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
    found = ask(address, "/api/kernelspecs", Authorization=f"token {TOKEN}").json()
    assert found["default"] == "python3"
