"""Docker Compose reads what `--print compose` writes."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlimg.run.model import PortMapping
from dlimg.run_formats.model import PrintedRun
from dlimg.run_formats.write import write_run
from tests.formats.conftest import execute
from tests.support.debian_tools import DebianTools
from tests.support.printed_runs import HARD, HARD_FOLDER, NOTEBOOK, TRAINING

pytestmark = pytest.mark.formats


@pytest.fixture(scope="session")
def compose(tools: DebianTools) -> Path:
    return tools.compose()


def read(text: str, compose: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [str(compose), "--file", "-", "config", "--format", "json"]
    return execute(argv, environment, text)


def config(run: PrintedRun, compose: Path, environment: dict[str, str]) -> Any:
    outcome = read(write_run(run, "compose"), compose, environment)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""
    assert environment["WANDB_API_KEY"] not in outcome.stdout
    return json.loads(outcome.stdout)


def test_compose_reads_each_word_path_and_value(compose: Path, environment: dict[str, str]) -> None:
    service = config(HARD, compose, environment)["services"]["run"]
    # It writes `$` as `$$` again, as it read it.
    assert [word.replace("$$", "$") for word in service["command"]] == list(
        HARD.command_with_secrets
    )
    values = {name: text.replace("$$", "$") for name, text in service["environment"].items()}
    assert values == HARD.spec.variables
    assert service["volumes"][0]["source"].replace("$$", "$") == HARD_FOLDER
    assert service["volumes"][2]["read_only"] is True
    device = service["deploy"]["resources"]["reservations"]["devices"][0]
    assert (device["driver"], device["device_ids"]) == ("cdi", ["nvidia.com/gpu=1"])


def test_compose_reads_limits_ports_user_and_secrets(
    compose: Path, environment: dict[str, str]
) -> None:
    document = config(TRAINING, compose, environment)
    service = document["services"]["mnist"]
    assert service["shm_size"] == str(8 * 2**30)
    assert service["stop_grace_period"] == "2m0s"
    assert service["user"] == "1000:1000"
    assert service["init"] is True
    assert [(p["host_ip"], p["published"]) for p in service["ports"]] == [("127.0.0.1", "6006")]
    assert [secret["source"] for secret in service["secrets"]] == ["WANDB_API_KEY"]
    assert document["secrets"]["WANDB_API_KEY"]["environment"] == "WANDB_API_KEY"
    device = service["deploy"]["resources"]["reservations"]["devices"][0]
    assert (device["driver"], device["count"]) == ("nvidia", -1)


def test_compose_reads_a_port_that_the_engine_chooses(
    compose: Path, environment: dict[str, str]
) -> None:
    spec = replace(NOTEBOOK.spec, ports=(PortMapping(container=8888),))
    service = config(replace(NOTEBOOK, spec=spec), compose, environment)["services"]["mnist"]
    assert "deploy" not in service
    assert "published" not in service["ports"][0]


def test_compose_refuses_a_file_with_an_unknown_key(
    compose: Path, environment: dict[str, str]
) -> None:
    text = write_run(NOTEBOOK, "compose").replace("    shm_size:", "    shmsize:")
    assert read(text, compose, environment).returncode != 0
