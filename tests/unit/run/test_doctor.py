"""Findings of the doctor: from a machine's answers to what is missing, and the plan for it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from dlimg.model import DetectedGpu
from dlimg.run.doctor import DoctorFinding, MachineNeed, findings
from dlimg.run.machine_packages import DOCKER_PACKAGES, SYSTEMS, PackageSources
from dlimg.run.machine_probe import MachineProbe, parse_probe
from dlimg.run.machine_setup import setup_plan
from dlimg.run_formats.vm_script import steps

GIB = 2**30
GOOD = MachineProbe(
    os="ubuntu",
    os_version="24.04",
    kernel="Linux 6.8.0",
    arch="x86_64",
    time=1000,
    sudo="free",
    pci=("0x1eb8",),
    module="580.95.05",
    installed="580.95.05",
    gpus=(DetectedGpu(name="Tesla T4", capability="7.5"),),
    driver="580.95.05",
    has_smi=True,
    toolkit="NVIDIA Container Toolkit CLI version 1.18.0",
    cdi=("/etc/cdi/nvidia.yaml",),
    has_docker=True,
    docker_version={"Server": {"Version": "28.5.2"}},
    docker_info={"Runtimes": {"nvidia": {}, "runc": {}}},
    disk_docker=100 * GIB,
    disk_home=20 * GIB,
    memory=16 * GIB,
    rsync=True,
    registry=True,
)
NEED = MachineNeed(
    image="pytorch-2.15.0-cuda13.2",
    floor="580.65.06",
    source="https://docs.nvidia.com/x",
    size=3 * GIB,
    registry="ghcr.io",
    on=" --on vm",
    now=1001.0,
)
BARE: dict[str, Any] = {
    "module": "",
    "installed": "",
    "gpus": (),
    "driver": "",
    "has_smi": False,
    "toolkit": "",
    "cdi": (),
    "docker_info": {"Runtimes": {"runc": {}}},
}


def failed(probe: MachineProbe, need: MachineNeed = NEED) -> list[DoctorFinding]:
    return [row for row in findings(probe, need) if row.state == "failed"]


def test_a_machine_that_asks_itself_may_start_an_engine_of_its_own() -> None:
    own = replace(NEED, on="", own_engine=True)
    for fields in ({"has_docker": False}, {"docker_error": "Cannot connect"}):
        rows = findings(replace(GOOD, docker_version={}, **fields), own)
        assert [row.message for row in rows if row.state != "ok"] == ["none runs"]
    assert findings(GOOD, own)[1].message == "docker 28.5.2"
    full = failed(replace(GOOD, disk_docker=0), replace(own, own_engine=False))
    assert "`dlimg prune`" in full[0].remedy


def test_no_remedy_for_this_machine_points_to_another() -> None:
    probe = replace(
        GOOD, docker_version={}, disk_docker=0, quota="/ 9*", ports=(8888,), registry_error="x"
    )
    rows = findings(probe, replace(NEED, on="", now=9e9))
    assert len([row for row in rows if row.state != "ok"]) >= 6
    assert not [
        row
        for row in rows
        if " there" in f"{row.message} {row.remedy}" and row.state != "ok" and row.check != "disk"
    ]


def test_a_good_machine_has_nothing_to_mend() -> None:
    rows = findings(GOOD, NEED)
    assert {row.state for row in rows} == {"ok"}
    plan = setup_plan(GOOD, rows, PackageSources())
    assert (plan.steps, plan.reboot, plan.obstacle) == ((), "", "")


@pytest.mark.parametrize(
    ("fields", "check", "message", "remedy"),
    [
        ({"kernel": "Darwin 25"}, "system", "runs need Linux", "a machine with Linux"),
        ({"arch": "riscv64"}, "system", "riscv64", "such a CPU"),
        ({"has_docker": False}, "engine", "there is no docker", "doctor --fix --on vm"),
        ({"may_use_docker": False}, "engine", "may not use docker", "usermod -aG docker"),
        (
            {"docker_version": {}, "docker_error": "Cannot connect"},
            "engine",
            "Cannot connect",
            "systemctl enable --now docker",
        ),
        (
            {"docker_version": {"Server": {"Version": "20.10.24"}}},
            "engine",
            "docker 20.10.24 is older than 24.0",
            "install a newer one",
        ),
        ({**BARE, "pci": ()}, "GPU", "no GPU of NVIDIA's", "rent a machine with a GPU"),
        (BARE, "driver", "there is no NVIDIA driver", "doctor --fix --on vm"),
        (
            {**BARE, "installed": "580.95.05"},
            "driver",
            "580.95.05 is installed, not loaded",
            "modprobe nvidia",
        ),
        (
            {**BARE, "installed": "580.95.05", "nouveau": True},
            "driver",
            "nouveau has the GPU",
            "reboot",
        ),
        (
            {"gpus": (), "driver": "", "smi_error": "Driver/library version mismatch"},
            "driver",
            "the driver was updated",
            "reboot",
        ),
        (
            {"driver": "550.54.14"},
            "driver floor",
            "driver 550.54.14 is older than 580.65.06",
            "dlimg pick --driver 550.54.14",
        ),
        (
            {"toolkit": "", "docker_info": {"Runtimes": {"runc": {}}}},
            "container toolkit",
            "toolkit is missing",
            "doctor --fix --on vm",
        ),
        (
            {"stale": (("/usr/lib/libcuda.so.550", "/etc/cdi/nvidia.yaml"),)},
            "CDI file",
            "/usr/lib/libcuda.so.550 does not exist",
            "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
        ),
        (
            {"docker_info": {"Runtimes": {"runc": {}}}},
            "GPU in containers",
            "gives no GPU",
            "nvidia-ctk runtime configure",
        ),
        (
            {"docker_info": {"DiscoveredDevices": [{"ID": "example.com/gpu=0"}]}},
            "GPU in containers",
            "gives no GPU",
            "nvidia-ctk runtime configure",
        ),
        ({"disk_docker": 5 * GIB}, "disk", "takes about 15.57 GB", "docker system prune"),
        ({"disk_home": 2**20}, "disk", "home has 1 MB free", "a larger disk"),
        ({"quota": "/dev/sda1 100* 90 100"}, "quota", "used up", "remove files"),
        ({"time": 5000}, "clock", "3999 s ahead", "timedatectl set-ntp"),
        ({"time": 500}, "clock", "501 s behind", "timedatectl set-ntp"),
        ({"registry": False}, "network", "ghcr.io cannot be resolved", "resolv.conf"),
    ],
)
def test_a_fault_is_a_finding_with_its_remedy(
    fields: dict[str, Any], check: str, message: str, remedy: str
) -> None:
    rows = [row for row in failed(replace(GOOD, **fields)) if row.check == check]
    assert len(rows) == 1, failed(replace(GOOD, **fields))
    assert message in rows[0].message
    assert remedy in rows[0].remedy


def test_the_driver_floor_has_its_source() -> None:
    (row,) = failed(replace(GOOD, driver="550.54.14"))
    assert row.source == "https://docs.nvidia.com/x"


def test_a_registry_that_curl_does_not_reach_is_a_warning_as_the_engine_may_have_a_proxy() -> None:
    error = "curl: (7) Failed to connect"
    rows = findings(replace(GOOD, registry_error=error), NEED)
    (row,) = (row for row in rows if row.state != "ok")
    assert (row.check, row.state) == ("network", "warning")
    assert row.message == f"ghcr.io does not answer there: {error}"


def test_every_finding_that_is_not_good_has_a_remedy() -> None:
    bad = replace(GOOD, **BARE, rsync=False, cpu_max="200000 100000", ports=(8888,), memory=GIB)
    rows = findings(bad, replace(NEED, obstacle="no image runs on sm_35"))
    assert {"warning", "failed"} <= {row.state for row in rows}
    assert all(row.remedy for row in rows if row.state != "ok")


def test_a_run_on_the_cpu_needs_no_gpu() -> None:
    probe = replace(GOOD, **BARE, pci=())
    assert not failed(probe, replace(NEED, wants_gpu=False))


def plan_names(probe: MachineProbe) -> list[str]:
    plan = setup_plan(probe, findings(probe, NEED), PackageSources())
    return [step.name for step in plan.steps]


def test_the_plan_of_a_bare_machine_has_all_steps_in_order() -> None:
    probe = replace(GOOD, **BARE, has_docker=False, docker_version={})
    assert plan_names(probe) == [
        "the container engine",
        "NVIDIA's driver, branch 580",
        "NVIDIA's container toolkit",
        "GPUs in the engine",
        "the CDI file",
    ]


def test_the_plan_after_the_driver_goes_on_with_the_rest() -> None:
    installed = replace(GOOD, **{**BARE, "installed": "580.95.05"})
    assert "NVIDIA's driver, branch 580" not in plan_names(installed)
    plan = setup_plan(installed, findings(installed, NEED), PackageSources())
    assert plan.reboot == "driver 580.95.05 is installed and not loaded"


@pytest.mark.parametrize(
    ("device", "package"),
    [("0x1bb3", "cuda-drivers"), ("0x1eb8", "nvidia-open"), ("0x2901", "nvidia-open")],
)
def test_a_gpu_before_turing_gets_the_closed_modules(device: str, package: str) -> None:
    probe = replace(GOOD, **BARE, pci=(device,))
    plan = setup_plan(probe, findings(probe, NEED), PackageSources())
    installed = [line.rpartition(" ")[2] for line in plan.steps[0].lines if " install " in line]
    assert installed == ["curl", "nvidia-driver-pinning-580", package]


@pytest.mark.parametrize(
    ("device", "branch"),
    [("0x1bb3", "580"), ("0x1eb8", "595")],
)
def test_the_branch_is_that_of_the_driver_floor_where_the_gpu_has_it(
    device: str, branch: str
) -> None:
    probe = replace(GOOD, **BARE, pci=(device,))
    plan = setup_plan(probe, findings(probe, NEED), PackageSources(), floor="595.45.04")
    assert plan.steps[0].name == f"NVIDIA's driver, branch {branch}"


@pytest.mark.parametrize(("system", "has_contrib"), [("debian", True), ("ubuntu", False)])
def test_debian_needs_its_component_contrib(system: str, *, has_contrib: bool) -> None:
    version = {"debian": "13", "ubuntu": "24.04"}[system]
    probe = replace(GOOD, **BARE, os=system, os_version=version)
    plan = setup_plan(probe, findings(probe, NEED), PackageSources())
    assert any(" contrib" in line for line in plan.steps[0].lines) == has_contrib


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_plan_and_the_script_of_a_vm_install_the_same(system: tuple[str, str]) -> None:
    """Literal values in the plan are variables in the script."""
    name, version = system
    values = {
        "$system": SYSTEMS[system].folder,
        "$arch": "x86_64",
        "$branch": "580",
        "$packages": DOCKER_PACKAGES[name],
        "$package": "nvidia-open",
        "$ID": name,
        "$VERSION_CODENAME": SYSTEMS[system].codename,
    }
    script = steps()
    for variable, value in values.items():
        script = script.replace(variable, value)
    probe = replace(GOOD, **BARE, os=name, os_version=version, has_docker=False, docker_version={})
    plan = setup_plan(probe, findings(probe, NEED), PackageSources())
    lines = {line.strip() for line in script.splitlines()}
    planned = [line for step in plan.steps[:3] for line in step.lines]
    assert planned[-1].endswith("nvidia-container-toolkit")
    assert [line for line in planned if line not in lines] == ["modprobe nvidia || true"]


def test_an_unknown_system_gets_findings_and_no_plan() -> None:
    probe = replace(GOOD, **BARE, os="fedora", os_version="43")
    plan = setup_plan(probe, findings(probe, NEED), PackageSources())
    assert not plan.steps
    assert "Debian 12, 13 and Ubuntu" in plan.obstacle


def test_answers_are_parsed_from_the_script_s_lines() -> None:
    info = json.dumps({"Runtimes": {"nvidia": {}}})
    text = (
        "Welcome to this machine\n"
        "os debian 13\nkernel Linux 6.12\narch x86_64\ntime 1700000000\nsudo root\n"
        "pci 0x2901\nsmi 10.0, 580.95.05, NVIDIA B200\nsmi 10.0, 580.95.05, NVIDIA B200\n"
        "cdi /etc/cdi/nvidia.yaml\nstale /a file /etc/cdi/nvidia.yaml\n"
        f"docker-error \ndocker-info {info}\ndisk-docker 1024\nport 8888\nend yes\n"
    )
    probe = parse_probe(text)
    assert probe is not None
    assert (probe.os, probe.os_version, probe.driver) == ("debian", "13", "580.95.05")
    assert [gpu.name for gpu in probe.gpus] == ["NVIDIA B200", "NVIDIA B200"]
    assert probe.stale == (("/a file", "/etc/cdi/nvidia.yaml"),)
    assert probe.docker_info["Runtimes"] == {"nvidia": {}}
    assert (probe.disk_docker, probe.ports) == (2**20, (8888,))


def test_a_failing_nvidia_smi_is_no_gpu() -> None:
    text = "smi NVIDIA-SMI has failed because it could not communicate\nend yes\n"
    probe = parse_probe(text)
    assert probe is not None
    assert (probe.gpus, probe.driver) == ((), "")
    assert probe.smi_error.startswith("NVIDIA-SMI has failed")


def test_a_script_that_was_cut_off_has_no_answers() -> None:
    assert parse_probe("os debian 13\n") is None
