"""The command of Dev Containers reads the file, and starts Docker with what is in it."""

import itertools
import json
import os
import subprocess
from pathlib import Path

import pytest

from dlimg.run_formats.engines import mount_text
from dlimg.run_formats.model import PrintedRun
from dlimg.run_formats.write import write_run
from tests.formats.conftest import execute
from tests.support.printed_runs import HARD, RUNS, TRAINING

pytestmark = pytest.mark.formats
ROOT = Path(__file__).parents[2]
COMMAND = ROOT / "requirements/devcontainers/node_modules/@devcontainers/cli/devcontainer.js"
IMAGE = {
    "Id": "sha256:1",
    "Architecture": "amd64",
    "Os": "linux",
    "Config": {"User": "user", "Env": [], "Labels": {}, "Entrypoint": [], "Cmd": []},
}
# Says that it has the image and NVIDIA's runtime, and writes down what it should run.
DOCKER = r"""#!/bin/sh
case "$1 $3" in
    'inspect image') cat "${0%/*}/image.json" ;;
    'version '*) echo 28.5.2 ;;
    'info '*) echo '{[] nvidia-container-runtime <nil>}' ;;
    'events '*) sleep 2 ;;
    'run '*) printf '%s\0' "$@" >"${0%/*}/run" ;;
esac
"""


def devcontainer(text: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = folder / ".devcontainer/devcontainer.json"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    (folder / "image.json").write_text(json.dumps([IMAGE]))
    docker = folder / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    argv = ["node", str(COMMAND), *arguments, "--workspace-folder", str(folder)]
    variables = {**os.environ, "WANDB_API_KEY": "its value"}
    return execute([*argv, "--docker-path", str(docker)], variables)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_the_dev_containers_command_reads_the_file(run: PrintedRun, tmp_path: Path) -> None:
    outcome = devcontainer(write_run(run, "devcontainer"), tmp_path, "read-configuration")
    assert outcome.returncode == 0, outcome.stderr
    config = json.loads(outcome.stdout)["configuration"]
    assert config["postAttachCommand"] == list(run.full_command)
    assert config.get("containerEnv", {}) == run.spec.variables
    assert config["workspaceFolder"] == "/code"


@pytest.mark.parametrize(
    ("run", "gpu"), [(TRAINING, "--gpus"), (HARD, "--device=nvidia.com/gpu=1")]
)
def test_the_dev_containers_command_starts_docker_with_it(
    run: PrintedRun, gpu: str, tmp_path: Path
) -> None:
    outcome = devcontainer(write_run(run, "devcontainer"), tmp_path, "up")
    assert (tmp_path / "run").exists(), outcome.stderr
    arguments = (tmp_path / "run").read_text(encoding="utf-8").split("\0")[:-1]
    given = set(itertools.pairwise(arguments))
    for name, value in run.spec.variables.items():
        assert ("-e", f"{name}={value}") in given
    for mount in run.spec.mounts:
        if mount.target != "/code":
            assert ("--mount", mount_text(mount)) in given
    assert {"--shm-size=8g", "--stop-timeout=120", "--init", gpu} <= set(arguments)
    assert "its value" not in " ".join(arguments)
