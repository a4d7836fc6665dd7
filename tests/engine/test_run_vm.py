"""The script of `--print cloud-init` on a bare machine: first boot, reboot, second run, faults."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.model import Base
from dlimg.run_formats.cloud_init import vm_script
from tests.support.printed_runs import NOTEBOOK, TRAINING
from tests.support.vm_machine import Machine, machine

pytestmark = pytest.mark.engine
T4, P4 = "0x1eb8", "0x1bb3"
SCRIPT = vm_script(TRAINING)
NOTEBOOK_SCRIPT = vm_script(NOTEBOOK)
MESSAGE = "cat /var/lib/dlimg/message"
Maker = Callable[..., Machine]


@pytest.fixture
def bare(engine: Engine, base: Base, tmp_path: Path) -> Iterator[Maker]:
    with ExitStack() as stack:

        def bare(device: str = "", driver: str = "580.95.05") -> Machine:
            image = base.reference.removeprefix("docker-image://")
            return stack.enter_context(
                machine(engine, image, tmp_path, driver=driver, device=device)
            )

        yield bare


def ready(vm: Machine) -> None:
    """Give the machine what the user sends it: the secret and the code."""
    vm.execute("install -D -m 444 /dev/null /etc/dlimg/secrets/WANDB_API_KEY")
    vm.execute("echo value >/etc/dlimg/secrets/WANDB_API_KEY; touch /srv/dlimg/mnist/code/train.py")


def test_a_bare_machine_reboots_once_and_goes_on_until_the_run_is_up(bare: Maker) -> None:
    vm = bare(T4)
    first = vm.execute(SCRIPT)
    assert first.returncode == 0, first.stderr
    assert vm.log()[-1] == "systemctl reboot"
    assert "reboots once" in vm.execute(MESSAGE).stdout
    assert any("install -y" in line and line.endswith(" nvidia-open") for line in vm.log())
    assert not any("docker" in line for line in vm.log())

    vm.reboot()
    second = vm.execute(SCRIPT)
    assert second.returncode == 0, second.stderr
    assert vm.log().count("systemctl reboot") == 1
    assert f"docker pull --quiet {TRAINING.spec.image}" in vm.log()
    assert "nvidia-ctk runtime configure --runtime=docker" in vm.log()
    assert "waits for secrets: WANDB_API_KEY" in second.stdout
    assert 'printf %s "$WANDB_API_KEY" | ssh USER@VM' in second.stdout

    vm.execute("echo value >/etc/dlimg/secrets/WANDB_API_KEY")
    assert "waits for its code" in vm.execute(SCRIPT).stdout
    vm.execute("touch /srv/dlimg/mnist/code/train.py")
    third = vm.execute(SCRIPT)
    assert "mnist runs" in third.stdout
    (started,) = (line for line in vm.log() if line.startswith("docker run"))
    assert "--gpus all" in started
    assert "source=/srv/dlimg/mnist/code,target=/code" in started
    assert "source=/etc/dlimg/secrets/WANDB_API_KEY,target=/run/secrets/WANDB_API_KEY" in started
    assert started.endswith("sh WANDB_API_KEY -- python train.py --epochs 3")


def test_a_second_run_changes_nothing(bare: Maker) -> None:
    vm = bare(T4)
    vm.reboot()
    vm.execute(SCRIPT)
    ready(vm)
    first = vm.execute(SCRIPT)
    files, log = vm.files(), vm.log()
    again = vm.execute(SCRIPT)
    assert again.stdout == first.stdout
    assert (vm.files(), vm.log()) == (files, log)


@pytest.mark.slow
def test_a_command_that_has_ended_is_not_started_again(bare: Maker) -> None:
    vm = bare(T4)
    vm.reboot()
    vm.execute(SCRIPT)
    ready(vm)
    vm.execute(SCRIPT)
    (vm.folder / "status").write_text("exited\n")
    log = vm.log()
    assert vm.execute(SCRIPT).returncode == 0
    assert vm.log() == log


@pytest.mark.slow
def test_a_driver_that_does_not_start_is_no_reason_for_a_second_reboot(bare: Maker) -> None:
    vm = bare(T4)
    vm.execute(SCRIPT)
    outcome = vm.execute(SCRIPT)
    assert outcome.returncode == 1
    assert "does not start, even after a reboot" in outcome.stdout
    assert vm.log().count("systemctl reboot") == 1


@pytest.mark.slow
def test_a_docker_that_is_still_starting_at_boot_is_waited_for(bare: Maker) -> None:
    vm = bare()
    vm.execute(NOTEBOOK_SCRIPT)
    log = vm.log()
    (vm.folder / "starting").touch()
    assert vm.execute(NOTEBOOK_SCRIPT).returncode == 0
    assert not (vm.folder / "starting").exists()
    assert vm.log() == log


def test_an_old_gpu_gets_the_driver_that_has_it(bare: Maker) -> None:
    vm = bare(P4)
    vm.execute(SCRIPT)
    installed = [line for line in vm.log() if "install" in line]
    assert any(line.endswith(" nvidia-driver-pinning-580") for line in installed)
    assert any(line.endswith(" cuda-drivers") for line in installed)


def test_a_driver_that_is_there_is_left_alone_and_its_floor_checked(bare: Maker) -> None:
    vm = bare(T4, driver="535.183.01")
    vm.reboot()
    vm.execute("cp /stand-ins/.smi /stand-ins/nvidia-smi")
    outcome = vm.execute(SCRIPT)
    assert outcome.returncode == 1
    assert "driver 535.183.01 is older than 580.65.06" in outcome.stdout
    assert "dlimg pick --driver 535.183.01" in outcome.stdout
    assert vm.log() == []


def test_a_machine_without_a_gpu_is_told(bare: Maker) -> None:
    outcome = bare().execute(SCRIPT)
    assert outcome.returncode == 1
    assert "this machine has no NVIDIA GPU" in outcome.stdout


def test_a_notebook_is_on_loopback_and_the_tunnel_is_told_at_each_login(bare: Maker) -> None:
    vm = bare()
    outcome = vm.execute(NOTEBOOK_SCRIPT)
    assert outcome.returncode == 0, outcome.stderr
    (started,) = (line for line in vm.log() if line.startswith("docker run"))
    assert "--publish 127.0.0.1:8888:8888" in started
    assert "--restart unless-stopped" in started
    assert "nvidia" not in " ".join(vm.log())
    assert "dlimg:   ssh -N -L 8888:127.0.0.1:8888 USER@VM" in outcome.stdout.splitlines()
    assert "  ssh -N -L 8888:127.0.0.1:8888 USER@VM" in vm.execute(MESSAGE).stdout.splitlines()
    (vm.folder / "status").write_text("exited\n")
    vm.execute(NOTEBOOK_SCRIPT)
    assert vm.log()[-1] == "docker start dlimg-mnist"


@pytest.mark.slow
def test_a_distribution_with_an_old_docker_gets_dockers_own(bare: Maker) -> None:
    vm = bare()
    (vm.folder / "candidate").write_text("docker.io:\n  Candidate: 20.10.24+dfsg1-1+deb12u1\n")
    vm.execute(NOTEBOOK_SCRIPT)
    source = vm.execute("cat /etc/apt/sources.list.d/docker.list").stdout
    assert "signed-by=/usr/share/keyrings/docker.asc" in source
    assert source.endswith("https://download.docker.com/linux/debian trixie stable\n")
    assert any("docker-ce" in line for line in vm.log())


def test_an_image_that_cannot_be_pulled_is_told(bare: Maker) -> None:
    vm = bare()
    (vm.folder / "offline").touch()
    outcome = vm.execute(NOTEBOOK_SCRIPT)
    assert outcome.returncode == 1
    assert f"sudo docker pull {NOTEBOOK.spec.image}" in outcome.stdout


@pytest.mark.slow
def test_another_distribution_is_told(bare: Maker) -> None:
    vm = bare()
    vm.execute("rm /etc/os-release; printf 'ID=fedora\\nPRETTY_NAME=Fedora\\n' >/etc/os-release")
    outcome = vm.execute(NOTEBOOK_SCRIPT)
    assert outcome.returncode == 1
    assert "this is Fedora" in outcome.stdout


@pytest.mark.slow
def test_a_name_with_other_letters_is_a_folder(bare: Maker) -> None:
    vm = bare()
    spec = replace(NOTEBOOK.spec, variables={"A": 'it\'s "$x" 你好\nline'})
    assert vm.execute(vm_script(replace(NOTEBOOK, spec=spec))).returncode == 0
    assert 'A=it\'s "$x" 你好' in "\n".join(vm.log())
