"""Kubernetes', cloud-init's, SkyPilot's and dstack's own readers."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from dlimg.run_formats.model import Format, PrintedRun
from dlimg.run_formats.write import write_run
from tests.formats.conftest import execute
from tests.support.debian_tools import DebianTools
from tests.support.printed_runs import HARD, HARD_WORDS, NOTEBOOK, RUNS, TRAINING, with_folders

pytestmark = pytest.mark.formats
# spec.template.spec is a PodSpec, and there is nothing else: components/notebook-controller/config/
# crd/bases/kubeflow.org_notebooks.yaml of github.com/kubeflow/notebooks, v1.11-branch, 3454bb75.
NOTEBOOK_KEYS = {"apiVersion", "kind", "metadata", "spec"}


def kubernetes_faults(document: dict[str, Any]) -> str:
    """Return the first fault of a resource by the newest schema, unknown keys included."""
    import kubernetes_validate

    try:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_kubernetes_takes_each_resource(run: PrintedRun) -> None:
    documents = list(yaml.safe_load_all(write_run(run, "kubernetes")))
    assert [document["kind"] for document in documents] == ["PersistentVolumeClaim", "Pod", "Job"]
    assert [kubernetes_faults(document) for document in documents] == ["", "", ""]


def test_kubernetes_refuses_an_unknown_key() -> None:
    document = list(yaml.safe_load_all(write_run(TRAINING, "kubernetes")))[-1]
    document["spec"]["template"]["spec"]["containers"][0]["arguments"] = ["x"]
    assert "arguments" in kubernetes_faults(document)


def test_kubeflow_takes_a_notebook() -> None:
    claim, notebook = yaml.safe_load_all(write_run(NOTEBOOK, "kubeflow"))
    assert kubernetes_faults(claim) == ""
    assert (notebook["apiVersion"], notebook["kind"]) == ("kubeflow.org/v1", "Notebook")
    assert set(notebook) == NOTEBOOK_KEYS
    assert list(notebook["spec"]) == ["template"]
    assert list(notebook["spec"]["template"]) == ["spec"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": notebook["metadata"]}
    assert kubernetes_faults({**pod, "spec": notebook["spec"]["template"]["spec"]}) == ""


@pytest.fixture(scope="session")
def cloud_init(tools: DebianTools) -> Path:
    # The newest packages are split, and the base has the Python modules.
    root = tools.unpack("cloud-init", "cloud-init-base", newest=True)
    return root / "usr/lib/python3/dist-packages"


def cloud_init_schema(text: str, modules: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "user-data"
    file.write_text(text, encoding="utf-8")
    argv = [sys.executable, "-m", "cloudinit.cmd.main", "schema", "--config-file", str(file)]
    variables = {**os.environ, "PYTHONPATH": str(modules), "PYTHONWARNINGS": "ignore"}
    return execute(argv, variables)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_cloud_init_takes_the_user_data(run: PrintedRun, cloud_init: Path, tmp_path: Path) -> None:
    outcome = cloud_init_schema(write_run(run, "cloud-init"), cloud_init, tmp_path)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "Valid schema" in outcome.stdout


def test_cloud_init_refuses_an_unknown_key(cloud_init: Path, tmp_path: Path) -> None:
    text = write_run(NOTEBOOK, "cloud-init").replace("permissions:", "permission:")
    outcome = cloud_init_schema(text, cloud_init, tmp_path)
    assert outcome.returncode != 0


def parsed(code: str, text: str, folder: Path, *arguments: str) -> Any:
    """Return what another tool's parser has read, by Python code that prints it as JSON."""
    file = folder / "run.yaml"
    file.write_text(text, encoding="utf-8")
    variables = {**os.environ, "HOME": str(folder), "WANDB_API_KEY": "its value"}
    argv = [sys.executable, "-W", "ignore", "-c", code, str(file), *arguments]
    outcome = execute(argv, variables)
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    return json.loads(outcome.stdout.splitlines()[-1])


SKYPILOT = """
import json, sys, yaml, sky
config = yaml.safe_load(open(sys.argv[1]))
given = [(name, "x") for name in config.get("secrets") or {}]
task = sky.Task.from_yaml_config(config, secrets_overrides=given)
task.expand_and_validate_workdir()
task.expand_and_validate_file_mounts()
print(json.dumps({"name": task.name, "run": task.run, "workdir": task.workdir,
    "mounts": task.file_mounts, "envs": task.envs, "secrets": list(task.secrets),
    "gpus": sorted(str(r.accelerators) for r in task.resources)}))
"""


@pytest.mark.parametrize("name", ["plain", 'it\'s $x 你好, "q"'])
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_skypilot_takes_the_task(run: PrintedRun, name: str, tmp_path: Path) -> None:
    run = with_folders(run, tmp_path, name)
    task = parsed(SKYPILOT, write_run(run, "skypilot"), tmp_path)
    assert task["name"] == run.name
    assert task["workdir"] == run.code
    assert run.spec.variables.items() <= task["envs"].items()
    assert set(run.secrets) <= set(task["secrets"])
    assert ("{'T4': 1}" in task["gpus"]) is bool(run.spec.gpu)
    data = {mount.source for mount in run.spec.mounts if mount.target.startswith("/data")}
    assert data <= set((task["mounts"] or {}).values())


def test_the_command_of_a_skypilot_task_has_each_word(tmp_path: Path) -> None:
    run = replace(HARD, spec=replace(HARD.spec, mounts=(), working_folder=str(tmp_path)))
    script = yaml.safe_load(write_run(run, "skypilot"))["run"].replace("/output", f"{tmp_path}/o")
    stub = tmp_path / "python"
    stub.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    stub.chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    outcome = execute(["bash", "-c", script], variables)
    assert outcome.stdout.split("\0")[:-1] == list(HARD_WORDS)


DSTACK = """
import json, sys, yaml
from dstack._internal.core.models.configurations import parse_run_configuration
run = parse_run_configuration(yaml.safe_load(open(sys.argv[1])))
print(json.dumps({"name": run.name, "commands": run.commands, "shm": run.resources.shm_size,
    "files": [[f.local_path, f.path] for f in run.files], "stop": run.stop_duration,
    "volumes": [[v.instance_path, v.path] for v in run.volumes],
    "ports": [[p.local_port, p.container_port] for p in run.ports],
    "gpu": str(run.resources.gpu.count), "user": run.user,
    "env": {name: str(value) for name, value in run.env.items()}}))
"""


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_dstack_takes_the_task(run: PrintedRun, tmp_path: Path) -> None:
    task = parsed(DSTACK, write_run(run, "dstack"), tmp_path)
    assert task["name"] == run.name
    assert task["stop"] == 120
    assert task["shm"] == 8
    assert task["user"] == "1000:1000"
    assert task["files"] == [[run.code, "/code"]]
    assert [run.output, "/output"] in task["volumes"]
    port = run.spec.ports[0]
    assert task["ports"] == [[port.host, port.container]]
    assert {name: f"EnvSentinel({name})" for name in run.secrets}.items() <= task["env"].items()


def test_the_commands_of_a_dstack_task_have_each_word_and_variable(tmp_path: Path) -> None:
    task = parsed(DSTACK, write_run(HARD, "dstack"), tmp_path)
    stub = tmp_path / "python"
    stub.write_text('#!/bin/sh\nprintf "%s\\0" "$HARD" "$@"\n')
    stub.chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    outcome = execute(["sh", "-c", " && ".join(task["commands"])], variables)
    assert outcome.stdout.split("\0")[:-1] == [HARD.spec.variables["HARD"], *HARD_WORDS]


@pytest.mark.parametrize(("format_", "code"), [("skypilot", SKYPILOT), ("dstack", DSTACK)])
def test_a_parser_refuses_an_unknown_key(format_: Format, code: str, tmp_path: Path) -> None:
    text = write_run(with_folders(TRAINING, tmp_path, "x"), format_) + "no_such_key: 1\n"
    with pytest.raises(AssertionError, match="no_such_key"):
        parsed(code, text, tmp_path)
