"""Specifications in the engine's words, states read back, failed starts explained."""

import pytest

from dlimg.context import Context
from dlimg.errors import Negative
from dlimg.run import container as containers
from dlimg.run.model import GpuAccess, Mount, PortMapping, RunName, RunSpec
from tests.support import run_engine

SPEC = RunSpec(
    run=RunName(name="hello", number=3),
    image="dlimg/jax:1",
    digest="sha256:00",
    command=("python", "a b'$x 你好.py"),
    mounts=(
        Mount(kind="bind", source='/home/me/a, b"c', target="/code"),
        Mount(kind="bind", source="/d", target="/data/d", read_only=True),
    ),
    ports=(PortMapping(container=8888), PortMapping(container=22, host=2222)),
    variables={"A": "$x"},
    user="1000:1000",
)


def test_words_and_paths_reach_the_engine_unchanged() -> None:
    options, host = containers.container_options(SPEC), containers.host_options(SPEC)
    assert options["command"] == ["python", "a b'$x 你好.py"]
    assert options["environment"] == {"A": "$x"}
    assert options["user"] == "1000:1000"
    assert [mount["Source"] for mount in host["mounts"]] == ['/home/me/a, b"c', "/d"]
    assert [mount["ReadOnly"] for mount in host["mounts"]] == [False, True]


def test_a_run_has_time_to_stop_shared_memory_and_an_init() -> None:
    options, host = containers.container_options(SPEC), containers.host_options(SPEC)
    assert options["stop_timeout"] == 120
    assert host["shm_size"] == 8 * 2**30
    assert host["init"] is True


def test_ports_are_on_loopback() -> None:
    bindings = containers.host_options(SPEC)["port_bindings"]
    assert bindings == {8888: [("127.0.0.1", None)], 22: [("127.0.0.1", 2222)]}


@pytest.mark.parametrize(
    ("gpu", "options"),
    [
        (GpuAccess(), {}),
        (GpuAccess(kind="runtime"), {"runtime": "nvidia"}),
        (
            GpuAccess(kind="cdi", devices=("nvidia.com/gpu=all",)),
            {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"]},
        ),
        (GpuAccess(kind="gpus"), {"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}),
    ],
)
def test_each_way_of_gpu_access_is_asked_for(gpu: GpuAccess, options: dict[str, object]) -> None:
    spec = RunSpec(run=SPEC.run, image="i", digest="d", command=(), gpu=gpu)
    host = containers.host_options(spec)
    asked = dict(host["device_requests"][0]) if "device_requests" in host else host
    assert {name: asked[name] for name in options} == options
    assert ("device_requests" in host, "runtime" in host) == (
        gpu.kind in {"cdi", "gpus"},
        gpu.kind == "runtime",
    )


def test_a_container_without_an_ascii_name_has_none() -> None:
    assert containers.container_options(SPEC)["name"] == "dlimg-hello-3"
    other = RunSpec(run=RunName(name="你好", number=1), image="i", digest="d", command=())
    assert "name" not in containers.container_options(other)
    assert containers.container_options(other)["labels"]["io.dlimg.run"] == "你好:1"


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("Bind for 127.0.0.1:80 failed: port is already allocated", "--port"),
        ('exec: "train": executable file not found in $PATH', "behind `--`"),
        ("could not select device driver", "NVIDIA Container Toolkit"),
        ("unresolvable CDI devices nvidia.com/gpu=all", "nvidia-ctk"),
        ("write /x: no space left on device", "make room"),
    ],
)
def test_a_failed_start_leaves_no_container_and_says_what_to_do(
    reason: str, hint: str, context: Context
) -> None:
    api = run_engine.FakeApi(start_error=reason)
    engine = run_engine.engine(api, context)
    number = containers.create_container(SPEC, engine)
    with pytest.raises(Negative) as error:
        containers.start_container(number, engine)
    assert reason in error.value.problems[0].message
    assert hint in error.value.problems[0].hint
    assert api.removed == [number]


def test_the_state_of_an_ended_container_has_its_end() -> None:
    attributes = {
        "State": {
            "Status": "exited",
            "StartedAt": "2026-11-29T10:00:00.123Z",
            "FinishedAt": "2026-11-29T10:00:09Z",
            "ExitCode": 137,
            "OOMKilled": True,
        },
        "NetworkSettings": {"Ports": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": "49153"}]}},
    }
    state = containers.parse_state(attributes)
    assert (state.started, state.finished) == ("2026-11-29T10:00:00.123", "2026-11-29T10:00:09")
    assert (state.exit_code, state.out_of_memory, state.ports) == (137, True, {8888: 49153})


def test_a_running_container_has_no_exit_code() -> None:
    attributes = {
        "State": {"Status": "running", "FinishedAt": "0001-01-01T00:00:00Z", "ExitCode": 0}
    }
    state = containers.parse_state(attributes)
    assert (state.exit_code, state.finished) == (None, "")
