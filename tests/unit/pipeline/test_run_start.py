"""From a request to a container: image, GPU, folders, mounts, record; and what is refused."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlimg.checks.evidence import evidence_folder, write_evidence
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import BadInput, DlimgError, Negative, NetworkFailure, Problem
from dlimg.host.ssh import SshHost
from dlimg.model import CheckStatus, DetectedGpu, Evidence, LocalMachine, Verdict
from dlimg.pipeline.run_gpu import GpuDecision, decide_gpu
from dlimg.pipeline.run_locate import locate_image
from dlimg.pipeline.run_start import RunStart, create_run
from dlimg.run import launch
from dlimg.run.data_volume import LABEL
from dlimg.run.find import this_origin
from dlimg.run.model import RUN_LABEL, DataRequest, GpuChoice, ImageChoice, RunRequest
from dlimg.run.record import read_records, write_record
from tests.support import run_engine

IMAGE = "mine:1"
COMMAND = ("python", "train.py")
MATRIX = str(Path(__file__).parents[3] / "matrix.yaml")
JAX = "jax-0.12.0.1-cpu-py3.13-debian13"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context.of({"HOME": str(tmp_path / "home")}, print)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my 'first' $x 你好"
    folder.mkdir()
    return folder


@pytest.fixture
def api() -> run_engine.FakeApi:
    return run_engine.FakeApi(images={IMAGE: "sha256:11"})


@pytest.fixture
def start(api: run_engine.FakeApi, context: Context, folder: Path) -> Callable[..., RunStart]:
    def start(engine: Engine | None = None, **fields: Any) -> RunStart:
        request = RunRequest(folder=folder, env=IMAGE, gpu="cpu", command=COMMAND)
        chosen = engine or run_engine.engine(api, context)
        return create_run(replace(request, **fields), MATRIX, chosen, context)

    return start


def test_a_folder_of_any_name_becomes_a_run(
    start: Callable[..., RunStart], api: run_engine.FakeApi, folder: Path, context: Context
) -> None:
    spec, record = start().spec, start().record
    assert str(spec.run) == "my-first-x-你好:1"
    assert str(record.run) == "my-first-x-你好:2"
    code, output = api.created[0]["host_config"]["mounts"]
    assert (code["Source"], code["Target"]) == (str(folder), "/code")
    assert (output["Source"], output["Target"]) == (f"{folder}/output/1", "/output")
    assert Path(record.output).is_dir()
    assert api.created[0]["user"] == f"{os.getuid()}:{os.getgid()}"
    assert api.created[0]["labels"]["io.dlimg.run.image"] == "mine:1@sha256:11"
    assert [r.run.number for r in read_records(context)] == [1, 2]


def test_a_run_knows_its_image(
    start: Callable[..., RunStart], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**run_engine.CONFIG, "Labels": {"io.dlimg.key": "0123"}}
    monkeypatch.setattr(run_engine, "CONFIG", config)
    variables = start().spec.variables
    assert "DLIMG_EVIDENCE" not in variables
    assert variables["DLIMG_REFERENCE"] == "mine:1"
    assert variables["DLIMG_DIGEST"] == "sha256:11"
    assert variables["DLIMG_CONTENT_KEY"] == "0123"


def test_a_run_knows_the_evidence_about_its_image(
    start: Callable[..., RunStart], context: Context
) -> None:
    digest = f"sha256:{'1' * 64}"
    api = run_engine.FakeApi(images={IMAGE: digest})
    engine = run_engine.engine(api, context)
    passed = Verdict(check="imports", sha256="0", status=CheckStatus.PASSED, reason="", seconds=1.0)
    passed = replace(passed, required=True)
    gpu = replace(passed, check="gpu", status=CheckStatus.NOT_RUN, required=False)
    for device, verdicts in (("none", (passed, gpu)), ("nvidia.com/gpu=0", (passed,))):
        evidence = Evidence(
            digest=digest,
            cell="jax-cpu",
            device=device,
            day="2026-11-30",
            dlimg="1",
            engine="28.5.2",
            verdicts=verdicts,
        )
        write_evidence(evidence_folder(context), evidence, log=print, sets=None)
    assert start(engine).spec.variables["DLIMG_EVIDENCE"] == (
        "passed: 1 of 2 passed without a GPU, 2026-11-30; "
        "passed: 1 of 1 passed on nvidia.com/gpu=0, 2026-11-30"
    )
    (evidence_folder(context) / f"{'1' * 64}.json").write_text("{")
    assert "DLIMG_EVIDENCE" not in start(engine).spec.variables


def test_data_is_mounted_read_only_at_three_places(
    start: Callable[..., RunStart], tmp_path: Path
) -> None:
    (tmp_path / "mnist").mkdir()
    data = (DataRequest(source=str(tmp_path / "mnist"), name="mnist"),)
    mounts = start(data=data).spec.mounts[2:]
    assert [mount.target for mount in mounts] == ["/data/mnist", "/input/mnist", "/mnist"]
    assert all(mount.read_only for mount in mounts)


def test_the_output_of_a_run_is_data_of_the_next(start: Callable[..., RunStart]) -> None:
    first = start(name="hello").record
    data = (DataRequest(source="hello:1/output", name="model"),)
    second = start(name="hello", data=data)
    assert second.spec.mounts[2].source == first.output
    assert second.record.data[0].name == "model"


@pytest.mark.parametrize(
    ("source", "message"),
    [("/nowhere", "there is no data /nowhere"), ("hello:7/output", "there is no run 'hello:7'")],
)
def test_data_that_does_not_exist_is_refused(
    source: str, message: str, start: Callable[..., RunStart], context: Context
) -> None:
    with pytest.raises(BadInput, match=message):
        start(data=(DataRequest(source=source, name="x"),))
    assert read_records(context) == ()


def test_two_runs_never_share_an_output_folder(
    start: Callable[..., RunStart], api: run_engine.FakeApi, tmp_path: Path
) -> None:
    output = str(tmp_path / "results")
    first = start(output=output)
    api.set_state(first.record.container, "running")
    for other in (output, f"{output}/inner", str(tmp_path)):
        with pytest.raises(BadInput, match=r"writes to .* at this moment"):
            start(output=other)
    api.set_state(first.record.container, "exited")
    start(output=output)


def test_an_output_folder_of_a_removed_run_is_not_used_again(
    start: Callable[..., RunStart], folder: Path
) -> None:
    (folder / "output/7").mkdir(parents=True)
    assert start().spec.run.number == 8


def test_without_a_command_or_script_the_run_is_refused(
    start: Callable[..., RunStart], context: Context
) -> None:
    with pytest.raises(BadInput, match="there is no command to run"):
        start(command=())
    assert read_records(context) == ()


def test_a_container_that_does_not_start_uses_up_no_number(
    api: run_engine.FakeApi, start: Callable[..., RunStart], context: Context
) -> None:
    api.start_error = "executable file not found"
    first = start().record
    with pytest.raises(Negative, match="does not start"):
        launch.start(first, {}, run_engine.engine(api, context))
    assert not Path(first.output).exists()
    assert start().record.run == first.run


def test_gpu_is_refused_where_the_engine_gives_none(start: Callable[..., RunStart]) -> None:
    with pytest.raises(Negative, match="no GPU for this run") as error:
        start(gpu="gpu")
    assert "NVIDIA Container Toolkit" in error.value.problems[0].hint


def test_gpu_is_refused_with_an_image_for_the_cpu(
    start: Callable[..., RunStart], api: run_engine.FakeApi, context: Context
) -> None:
    engine = run_engine.engine(api, context, Runtimes={"nvidia": {}})
    with pytest.raises(BadInput, match="is an image for the CPU"):
        start(engine, gpu="gpu", env=JAX)


def test_an_engine_without_gpus_is_used_without_them(start: Callable[..., RunStart]) -> None:
    assert not start(gpu="auto").spec.gpu


def test_the_gpu_of_the_engine_is_used(
    start: Callable[..., RunStart], api: run_engine.FakeApi, context: Context
) -> None:
    engine = run_engine.engine(api, context, Runtimes={"nvidia": {}})
    assert start(engine, gpu="gpu").spec.gpu.kind == "runtime"


def test_a_tag_that_does_not_exist_is_refused(
    start: Callable[..., RunStart], context: Context
) -> None:
    with pytest.raises(Negative, match="there is no image mine:2"):
        start(env="mine:2")
    with pytest.raises(Negative, match=r"there is no image ghcr.invalid/x:1"):
        start(env="ghcr.invalid/x:1")
    assert read_records(context) == ()


def test_an_image_is_pulled_where_the_engine_lacks_it(
    start: Callable[..., RunStart], api: run_engine.FakeApi
) -> None:
    api.pullable["ghcr.io/team/jax:1"] = "sha256:22"
    assert start(env="ghcr.io/team/jax:1").spec.digest == "sha256:22"


def test_an_image_that_is_nowhere_names_the_command_that_builds_it(
    start: Callable[..., RunStart],
) -> None:
    with pytest.raises(Negative, match="the engine has no image of jax-") as error:
        start(env="jax")
    assert f"`dlimg build {JAX}`" in error.value.problems[0].hint


def test_another_image_of_the_framework_does_where_the_best_is_missing(
    start: Callable[..., RunStart], api: run_engine.FakeApi
) -> None:
    api.images["dlimg/jax:0.12.0.1-cpu-py3.12-debian13"] = "sha256:33"
    assert start(env="jax").spec.digest == "sha256:33"


def test_a_rootless_engine_takes_the_caller_for_its_root(
    start: Callable[..., RunStart], api: run_engine.FakeApi, context: Context
) -> None:
    engine = run_engine.engine(api, context, SecurityOptions=["name=rootless"])
    assert start(engine).spec.user == "0:0"


@pytest.mark.parametrize("fields", [{"device": "x"}, {"queue": True}])
def test_a_run_on_the_cpu_takes_no_gpu_options(
    fields: dict[str, Any], start: Callable[..., RunStart]
) -> None:
    with pytest.raises(BadInput, match="a run on the CPU takes no GPU"):
        start(**fields)


def test_a_record_of_a_run_elsewhere_is_no_obstacle(
    start: Callable[..., RunStart], context: Context
) -> None:
    write_record(replace(start().record, container="other"), context)
    assert start().spec.run.number == 2


@pytest.mark.parametrize(
    ("number", "user"), [(1000, "1000:1"), (0, "0:1"), (1234, "")], ids=["known", "root", "unknown"]
)
def test_with_ssh_the_user_is_one_that_the_image_knows(
    number: int,
    user: str,
    start: Callable[..., RunStart],
    api: run_engine.FakeApi,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: number)
    monkeypatch.setattr(os, "getgid", lambda: 1)
    api.images["dlimg/jax:0.12.0.1-cpu-py3.13-debian13-workspace"] = "sha256:44"
    variables = {"PUBLIC_KEY": "ssh-ed25519 AAAA"}
    begun = start(env=f"{JAX}-workspace", mode="ssh", command=(), variables=variables)
    assert begun.spec.user == user
    assert begun.spec.command == ("ssh",)


def test_only_a_line_for_the_shell_waits_for_its_programs(start: Callable[..., RunStart]) -> None:
    line = start(command=("sh", "-c", "a; b $1", "x", "y z"))
    assert line.spec.command == ("sh", "-c", "trap 'exit 143' TERM\na; b $1", "x", "y z")
    assert line.spec.variables["TINI_KILL_PROCESS_GROUP"] == "1"
    assert line.record.command == ("sh", "-c", "a; b $1", "x", "y z")
    for arguments in (("python", "a.py"), ("sh", "-c"), ("sh", "a.sh")):
        other = start(command=arguments)
        assert other.spec.command == arguments
        assert "TINI_KILL_PROCESS_GROUP" not in other.spec.variables


def test_a_registry_that_does_not_answer_is_no_obstacle_where_the_engine_has_an_image(
    api: run_engine.FakeApi, context: Context
) -> None:
    api.pull_error = "dial tcp: connection refused"
    engine = run_engine.engine(api, context)
    choice = ImageChoice(names=("127.0.0.1:9/team/jax:1", "dlimg/jax:1"), cell=JAX)
    with pytest.raises(NetworkFailure, match="connection refused") as error:
        locate_image(choice, engine, context)
    assert f"`dlimg build {JAX}` builds it here" in error.value.problems[0].hint
    api.images["dlimg/jax:1"] = "sha256:55"
    assert locate_image(choice, engine, context).digest == "sha256:55"


def test_an_image_of_docker_hub_that_cannot_be_asked_for_is_a_failure_of_the_network(
    api: run_engine.FakeApi, context: Context
) -> None:
    engine = run_engine.engine(api, context)
    choice = ImageChoice(names=("python:3.12",))
    with pytest.raises(Negative, match=r"there is no image python:3\.12"):
        locate_image(choice, engine, context)
    api.pull_error = "lookup registry-1.docker.io: no such host"
    with pytest.raises(NetworkFailure, match="no such host") as error:
        locate_image(choice, engine, context)
    assert error.value.problems[0].hint.endswith("`docker login docker.io`")


@pytest.mark.parametrize(
    ("fields", "role"),
    [
        ({"folder": Path("/")}, "code"),
        ({"output": "/"}, "output"),
        ({"data": (DataRequest(source="/tmp/..", name="x"),)}, "data x"),  # noqa: S108
    ],
)
def test_the_root_of_the_machine_is_no_folder_of_a_run(
    fields: dict[str, Any], role: str, start: Callable[..., RunStart]
) -> None:
    with pytest.raises(BadInput, match=f"all of this machine would be the {role}"):
        start(**fields)


@pytest.mark.parametrize(
    ("command", "right"),
    [
        (("train.py", "--epochs", "3 x"), "python train.py --epochs '3 x'"),
        (("setup.sh",), "bash setup.sh"),
    ],
)
def test_a_script_without_its_program_is_refused_with_the_right_line(
    command: tuple[str, ...], right: str, folder: Path, start: Callable[..., RunStart]
) -> None:
    start(command=command)  # a program of the image, for all that is known
    (folder / command[0]).touch()
    with pytest.raises(BadInput, match="is a file of this folder, and no program") as error:
        start(command=command)
    assert error.value.problems[0].hint == f"`dlimg run -- {right}`"
    start(command=(f"./{command[0]}",))


def test_a_home_folder_is_not_sent_unless_a_file_says_how_much(
    api: run_engine.FakeApi, context: Context, start: Callable[..., RunStart], tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    ssh = SshHost(destination="vm", environment={"PATH": str(tmp_path)})
    engine = replace(run_engine.engine(api, context, "ssh://vm"), ssh=ssh)
    with pytest.raises(BadInput, match="all of your home folder would be sent"):
        start(engine, folder=tmp_path / "home")
    (tmp_path / "home/.dlimgignore").write_text("*.iso\n")
    with pytest.raises(DlimgError) as error:  # there is no ssh in PATH
        start(engine, folder=tmp_path / "home")
    assert "home folder" not in str(error.value)
    start(folder=tmp_path / "home")


def test_paths_of_a_project_may_begin_at_home(
    start: Callable[..., RunStart], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "digits").mkdir()
    data = DataRequest(source="~/digits", name="digits")
    mounts = start(data=(data,), output="~/results").spec.mounts
    sources = {mount.target: mount.source for mount in mounts}
    assert sources["/data/digits"] == str(tmp_path / "digits")
    assert sources["/output"] == str(tmp_path / "results")


@pytest.mark.parametrize("name", ["circle", "~nobody-of-this-name/x"])
def test_a_path_that_leads_nowhere_is_no_data_and_no_output(
    name: str, start: Callable[..., RunStart], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "circle").symlink_to("circle")
    (folder / "~nobody-of-this-name").touch()
    with pytest.raises(BadInput, match="there is no data"):
        start(data=(DataRequest(source=name, name="x"),))
    with pytest.raises(BadInput, match="the output folder cannot be made"):
        start(output=name)


def test_data_is_looked_for_before_an_image_is_pulled(
    api: run_engine.FakeApi, start: Callable[..., RunStart]
) -> None:
    api.pullable["mine:2"] = "sha256:33"
    with pytest.raises(BadInput, match="there is no data"):
        start(env="mine:2", data=(DataRequest(source="missing", name="x"),))
    assert "mine:2" not in api.images


def test_two_users_of_one_engine_have_different_numbers(
    api: run_engine.FakeApi, start: Callable[..., RunStart]
) -> None:
    api.set_state("of another", "exited")
    api.containers_by_id["of another"]["Config"] = {"Labels": {RUN_LABEL: "shared:7"}}
    assert str(start(name="other").spec.run) == "other:1"
    assert str(start(name="shared").spec.run) == "shared:8"


def test_data_of_an_address_is_fetched_once_and_not_mixed_up(
    api: run_engine.FakeApi, start: Callable[..., RunStart]
) -> None:
    labels = {LABEL: "words", f"{LABEL}.source": "git:https://a.b/words"}
    api.stored.append({"Name": "volume1", "Labels": labels})
    mounts = start(data=(DataRequest(source="git:https://a.b/words", name="words"),)).spec.mounts
    assert ("volume1", "/data/words") in [(mount.source, mount.target) for mount in mounts]
    with pytest.raises(BadInput, match="the stored data words is of git:https"):
        start(data=(DataRequest(source="git:https://a.b/other", name="words"),))
    with pytest.raises(BadInput, match="is no source of data"):
        start(data=(DataRequest(source="hf:gpt2", name="gpt2"),))


def test_labels_say_who_began_a_run_and_what_it_needs(start: Callable[..., RunStart]) -> None:
    labels = start(command=(), mode="jupyter").spec.labels
    assert labels["io.dlimg.run.from"] == this_origin()
    assert labels["io.dlimg.run.mode"] == "jupyter"


@pytest.mark.parametrize("inside", ["", "/below"])
def test_an_output_folder_that_cannot_be_made_is_refused(
    inside: str, start: Callable[..., RunStart], folder: Path, context: Context
) -> None:
    (folder / "a file").touch()
    with pytest.raises(BadInput, match="the output folder cannot be made"):
        start(output=f"{folder}/a file{inside}")
    (folder / "output").touch()
    with pytest.raises(BadInput, match="the output folder cannot be made"):
        start()
    assert read_records(context) == ()


H200 = LocalMachine(gpus=(DetectedGpu(name="NVIDIA H200", capability="9.0"),), driver="580.65")
NO_DRIVER = LocalMachine(findings=(Problem(message="no NVIDIA GPU", hint="install one"),))
ALL = [{"Source": "cdi", "ID": "nvidia.com/gpu=all"}]


def decide(
    machine: LocalMachine | None, context: Context, gpu: GpuChoice = "auto", **details: Any
) -> GpuDecision:
    engine = run_engine.engine(run_engine.FakeApi(), context, host="unix:///fake", **details)
    return decide_gpu(RunRequest(folder=Path(), gpu=gpu), machine, engine)


def test_a_gpu_is_taken_where_there_is_one(context: Context) -> None:
    decision = decide(H200, context, DiscoveredDevices=ALL)
    assert decision.access.devices == ("nvidia.com/gpu=all",)
    assert decision.machine == H200
    assert not decide(H200, context, "cpu", DiscoveredDevices=ALL).access


def test_without_a_gpu_a_device_of_the_engine_counts_only_if_a_gpu_is_wanted(
    context: Context,
) -> None:
    assert not decide(NO_DRIVER, context, DiscoveredDevices=ALL).access
    assert decide(NO_DRIVER, context, "gpu", DiscoveredDevices=ALL).access
    with pytest.raises(Negative, match="no GPU for this run: no NVIDIA GPU") as error:
        decide(NO_DRIVER, context, "gpu")
    assert error.value.problems[0].hint.startswith("install one; or leave out --gpu")


def test_a_gpu_that_the_engine_does_not_give_is_named_and_the_run_goes_on(
    context: Context,
) -> None:
    decision = decide(H200, context)
    assert not decision.access
    assert "the engine gives none" in decision.notes[0].message
    with pytest.raises(Negative, match="the engine gives none"):
        decide(H200, context, "gpu")


def test_a_stale_cdi_file_is_named_with_the_command_that_mends_it(
    context: Context, tmp_path: Path
) -> None:
    file = tmp_path / "nvidia.json"
    mounts = [{"hostPath": "/nowhere/libcuda.so.550", "containerPath": "/x"}]
    file.write_text(json.dumps({"kind": "nvidia.com/gpu", "containerEdits": {"mounts": mounts}}))
    folders: dict[str, Any] = {"CDISpecDirs": [str(tmp_path)], "DiscoveredDevices": ALL}
    (note,) = decide(H200, context, **folders).notes
    assert note.where == str(file)
    assert note.hint == f"sudo nvidia-ctk cdi generate --output={file}"
    with pytest.raises(Negative, match="the CDI file is stale"):
        decide(H200, context, "gpu", **folders)


def test_selinux_lets_a_run_into_its_folders(
    start: Callable[..., RunStart], api: run_engine.FakeApi, context: Context
) -> None:
    options = ["name=seccomp,profile=builtin", "name=selinux"]
    start(run_engine.engine(api, context, SecurityOptions=options))
    assert api.created[-1]["host_config"]["security_opt"] == ["label=disable"]
    start()
    assert "security_opt" not in api.created[-1]["host_config"]
