"""Runs in every format: golden texts, and every hard text read back from them."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from dlimg.errors import BadInput
from dlimg.run.model import GpuAccess, Mount, RunName
from dlimg.run_formats.model import Format, PrintedRun, quoted
from dlimg.run_formats.write import FORMATS, write_run
from tests.support import printed_runs
from tests.support.printed_runs import HARD, HARD_FOLDER, HARD_WORDS, NOTEBOOK, RUNS, TRAINING

YAML_FORMATS = tuple(f for f in FORMATS if printed_runs.SUFFIXES.get(f, "yaml") == "yaml")


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", RUNS)
def test_a_run_in_a_format_is_the_golden_one(name: str, format_: Format) -> None:
    text = printed_runs.golden_text(RUNS[name], format_)
    path = printed_runs.golden_file(name, format_)
    golden = path.read_text(encoding="utf-8") if path.exists() else ""
    assert text == golden, "`python -m tests.support.printed_runs` writes it anew"
    assert golden or (name, format_) in {("training", "kubeflow"), ("hard", "kubeflow")}


def executed(text: str, tool: str, tmp_path: Path, environment: dict[str, str]) -> list[list[str]]:
    """Run a text in a shell whose tool writes its arguments down; return those of each call."""
    log = tmp_path / "calls"
    stub = tmp_path / tool
    stub.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" >>{log}\nprintf "\\1" >>{log}\n')
    stub.chmod(0o755)
    (tmp_path / "mkdir").symlink_to("/bin/true")
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment}
    subprocess.run(["sh", "-eu"], input=text, text=True, check=True, env=variables)
    calls = log.read_text(encoding="utf-8").split("\1")[:-1]
    return [call.split("\0")[:-1] for call in calls]


@pytest.mark.parametrize("format_", ["docker", "podman", "apptainer"])
def test_a_command_line_gives_each_word_unchanged(format_: Format, tmp_path: Path) -> None:
    text = write_run(HARD, format_)
    argv = executed(text, format_, tmp_path, {"WANDB_API_KEY": "its value"})[-1]
    assert argv[-len(HARD_WORDS) :] == list(HARD_WORDS)
    mounts = [argv[at + 1] for at, word in enumerate(argv) if word == "--mount"]
    csv_field = HARD_FOLDER.replace('"', '""')
    assert f'"source={csv_field}"' in mounts[0]
    assert mounts[2].endswith((",readonly", ",ro"))
    if format_ != "apptainer":
        assert f"HARD={' '.join(HARD_WORDS)}" in argv
    assert "its value" not in " ".join(argv)


def test_apptainer_gets_variables_and_secrets_by_its_environment(tmp_path: Path) -> None:
    log = tmp_path / "environment"
    stub = tmp_path / "apptainer"
    stub.write_text(f"#!/bin/sh\n/usr/bin/env -0 >{log}\n")
    stub.chmod(0o755)
    (tmp_path / "mkdir").symlink_to("/bin/true")
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "WANDB_API_KEY": "its value"}
    text = write_run(HARD, "apptainer")
    subprocess.run(["sh", "-eu"], input=text, text=True, check=True, env=variables)
    environment = log.read_text(encoding="utf-8").split("\0")
    assert f"APPTAINERENV_HARD={' '.join(HARD_WORDS)}" in environment
    assert "APPTAINERENV_WANDB_API_KEY=its value" in environment


@pytest.mark.parametrize("signal", ["HUP", "INT", "TERM"])
def test_an_interrupted_run_of_apptainer_leaves_no_folder(signal: str, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    stub = tmp_path / "apptainer"
    stub.write_text(f"#!/bin/sh\nls {files}\nkill -{signal} $PPID\nexit 5\n")
    stub.chmod(0o755)
    (tmp_path / "mkdir").symlink_to("/bin/true")
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(files)}
    text = write_run(NOTEBOOK, "apptainer")
    ended = subprocess.run(
        ["sh"], input=text, text=True, check=False, capture_output=True, env=variables
    )
    assert ended.stdout.startswith("tmp.")
    assert (ended.returncode, list(files.iterdir())) == (5, [])


def documents(text: str) -> list[Any]:
    """Return the documents, after two readers of YAML 1.1 and 1.2 have read the same."""
    old = list(yaml.safe_load_all(text))
    new = list(YAML(typ="safe").load_all(text))
    assert old == new
    return old


@pytest.mark.parametrize("format_", YAML_FORMATS)
@pytest.mark.parametrize("name", RUNS)
def test_readers_of_both_yaml_versions_read_the_same(name: str, format_: Format) -> None:
    text = printed_runs.golden_text(RUNS[name], format_)
    assert documents(text) or not text


def interpolated(value: Any) -> Any:
    """Return a value as Compose reads it: `$$` is `$`, and there is no other `$`."""
    if isinstance(value, str):
        assert "$" not in value.replace("$$", "")
        return value.replace("$$", "$")
    if isinstance(value, dict):
        return {name: interpolated(inner) for name, inner in value.items()}
    return [interpolated(inner) for inner in value] if isinstance(value, list) else value


def test_compose_gives_each_word_and_value_unchanged() -> None:
    document = interpolated(documents(write_run(HARD, "compose"))[0])
    service = document["services"]["run"]
    assert service["command"][-len(HARD_WORDS) :] == list(HARD_WORDS)
    assert service["environment"] == dict(HARD.spec.variables)
    assert service["volumes"][0]["source"] == HARD_FOLDER
    assert document["secrets"] == {"WANDB_API_KEY": {"environment": "WANDB_API_KEY"}}


def test_compose_secrets_become_variables_of_the_command_alone(tmp_path: Path) -> None:
    run = replace(HARD, secrets=("FIRST", "SECOND"))
    (tmp_path / "FIRST").write_text("a b\nc")
    (tmp_path / "SECOND").write_text("$x")
    document = interpolated(documents(write_run(run, "compose"))[0])
    command = document["services"]["run"]["command"]
    command[2] = command[2].replace("/run/secrets", str(tmp_path))
    command[command.index("python")] = "/usr/bin/python3"
    shown = "import os, sys; print([os.environ['FIRST'], os.environ['SECOND'], *sys.argv[1:]])"
    after_python = command.index("/usr/bin/python3") + 1
    command[after_python:after_python] = ["-c", shown]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.strip() == repr(["a b\nc", "$x", *HARD_WORDS])


def expanded(text: str) -> str:
    """Return a text as Kubernetes expands it where no variable is known: `$$` becomes `$`."""
    return re.sub(r"\$(\$|\([^)]*\))?", lambda m: "$" if m[1] == "$" else m[0], text)


@pytest.mark.parametrize("text", ["$(HOME)", "$$(HOME)", "$$", "$", "$x", "a$", "$$$(A)$"])
def test_kubernetes_puts_no_variable_into_a_text(text: str) -> None:
    run = replace(TRAINING, spec=replace(TRAINING.spec, command=(text,), variables={"A": text}))
    container = job(run)["spec"]["template"]["spec"]["containers"][0]
    assert "$(" not in container["args"][0].replace("$$", "")
    assert [expanded(word) for word in container["args"]] == [text]
    assert expanded(container["env"][0]["value"]) == text


def job(run: PrintedRun) -> Any:
    return documents(write_run(run, "kubernetes"))[-1]


def test_kubernetes_has_user_gpu_shared_memory_and_time_to_stop() -> None:
    pod = job(TRAINING)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 120
    assert pod["securityContext"] == {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}
    assert pod["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert {"medium": "Memory", "sizeLimit": "8Gi"} in [v.get("emptyDir") for v in pod["volumes"]]


def test_kubernetes_counts_gpus_that_are_named() -> None:
    devices = ("nvidia.com/gpu=0", "nvidia.com/gpu=3")
    spec = replace(TRAINING.spec, gpu=GpuAccess(kind="cdi", devices=devices))
    pod = job(replace(TRAINING, spec=spec))["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": 2}}


def test_kubernetes_has_no_gpu_for_the_cpu() -> None:
    pod = job(NOTEBOOK)["spec"]["template"]["spec"]
    assert "resources" not in pod["containers"][0]
    assert "tolerations" not in pod


def test_data_under_two_names_is_one_folder_of_the_claim_and_read_only() -> None:
    mounts = job(TRAINING)["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    data = [mount for mount in mounts if mount["mountPath"].endswith("digits")]
    assert [mount["subPath"] for mount in data] == ["data/digits", "data/digits"]
    assert all(mount["readOnly"] for mount in data)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_line_break_in_a_path_does_not_leave_a_comment(format_: Format) -> None:
    source = "/srv/a\nkind: Secret\n# \r b"
    mount = Mount(kind="bind", source=source, target="/code")
    run = replace(NOTEBOOK, spec=replace(NOTEBOOK.spec, mounts=(mount,)))
    text = printed_runs.golden_text(run, format_)
    if printed_runs.SUFFIXES.get(format_, "yaml") == "yaml":
        assert not re.search("^kind: Secret", text, re.MULTILINE)


def test_words_with_control_characters_stay_on_a_line() -> None:
    arguments = ("a\nb", "it's\\", "\x1b[31m", "你\r好", "plain")
    line = quoted(arguments)
    assert line.isprintable()
    argv = ["bash", "-c", f"printf '%s\\0' {line}"]
    output = subprocess.run(argv, capture_output=True, check=True).stdout
    assert output.decode().split("\0")[:-1] == list(arguments)


@pytest.mark.parametrize("format_", FORMATS)
def test_ports_are_on_loopback_alone(format_: Format) -> None:
    text = printed_runs.golden_text(TRAINING, format_)
    assert "0.0.0.0" not in text  # noqa: S104 - as it must not be
    if format_ in {"docker", "podman"}:
        assert "--publish 127.0.0.1:6006:6006" in text


@pytest.mark.parametrize(
    ("name", "label"),
    [("mnist", "mnist"), ("My_Run.2", "my-run-2"), ("你好", "run"), ("3d", "run-3d"), ("é-", "e")],
)
def test_a_name_of_any_script_is_a_dns_label(name: str, label: str) -> None:
    spec = replace(TRAINING.spec, run=RunName(name=name, number=1))
    assert replace(TRAINING, spec=spec).name == label


@pytest.mark.parametrize(
    ("gpu", "line"),
    [
        (GpuAccess(kind="gpus"), "--gpus all"),
        (GpuAccess(kind="runtime"), "--gpus all"),
        (GpuAccess(kind="cdi", devices=("nvidia.com/gpu=0",)), "--device nvidia.com/gpu=0"),
    ],
)
def test_docker_asks_for_gpus_in_the_engines_way(gpu: GpuAccess, line: str) -> None:
    run = replace(TRAINING, spec=replace(TRAINING.spec, gpu=gpu))
    assert f"  {line} \\\n" in write_run(run, "docker")
    assert "gpu" not in write_run(NOTEBOOK, "docker")


@pytest.mark.parametrize("name", RUNS)
def test_user_data_is_small_enough_for_every_cloud(name: str) -> None:
    text = printed_runs.golden_text(RUNS[name], "cloud-init")
    assert 0 < len(text.encode()) < 16 * 1024


def test_kubeflow_refuses_what_is_no_notebook() -> None:
    with pytest.raises(BadInput, match="a Notebook starts Jupyter"):
        write_run(TRAINING, "kubeflow")


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("text", ["a\0b", "a\udcffb"])
def test_a_text_that_cannot_be_written_is_refused(text: str, format_: Format) -> None:
    mount = Mount(kind="bind", source=f"/home/{text}", target="/code")
    for fields in ({"command": (text,)}, {"variables": {"A": text}}, {"mounts": (mount,)}):
        run = replace(TRAINING, spec=replace(TRAINING.spec, **fields))
        with pytest.raises(BadInput, match="null character"):
            write_run(run, format_)


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("devcontainer", "${localEnv:HOME}"),
        ("devcontainer", "x${containerWorkspaceFolder}"),
        ("skypilot", "/srv/$OMP_NUM_THREADS"),
        ("skypilot", "/srv/${WANDB_API_KEY}/x"),
    ],
)
def test_a_text_that_a_tool_would_replace_is_refused(format_: Format, text: str) -> None:
    mount = Mount(kind="bind", source=text, target="/data/x")
    run = replace(TRAINING, spec=replace(TRAINING.spec, mounts=(mount,)))
    with pytest.raises(BadInput, match=f"--print {format_}: .* would "):
        write_run(run, format_)


@pytest.mark.parametrize("target", ["/data/a b", "/data/*"])
def test_data_whose_name_a_shell_would_split_is_refused_for_a_vm(target: str) -> None:
    mount = Mount(kind="bind", source="/srv", target=target)
    run = replace(TRAINING, spec=replace(TRAINING.spec, mounts=(mount,)))
    with pytest.raises(BadInput, match="a shell would split"):
        write_run(run, "cloud-init")


def test_a_volume_is_refused_for_apptainer() -> None:
    mount = Mount(kind="volume", source="dlimg-data-1", target="/data/x", read_only=True)
    run = replace(TRAINING, spec=replace(TRAINING.spec, mounts=(mount,)))
    with pytest.raises(BadInput, match="it has no volumes"):
        write_run(run, "apptainer")
