"""Runs on another machine: what it says of itself, and where its files lie."""

import re

import pytest

from dlimg.model import DetectedGpu
from dlimg.pipeline.run_on import parse_machine, remote_base

ANSWER = (
    "Last login: today\nuser 1000:1001\nhome /home/me\narch x86_64\n"
    "gpu 7.5, 580.95.05, Tesla T4\ngpu 7.5, 580.95.05, Tesla T4\n"
)


def test_the_facts_of_a_machine_are_parsed_behind_a_banner() -> None:
    facts = parse_machine(ANSWER)
    assert facts is not None
    assert (facts.user, facts.home) == ("1000:1001", "/home/me")
    assert facts.machine.gpus == (DetectedGpu(name="Tesla T4", capability="7.5"),) * 2
    assert (facts.machine.driver, facts.machine.arch) == ("580.95.05", "x86_64")


def test_a_failing_nvidia_smi_is_no_gpu() -> None:
    facts = parse_machine("user 0:0\nhome /root\narch x86_64\ngpu NVIDIA-SMI has failed\n")
    assert facts is not None
    assert (facts.machine.gpus, facts.machine.driver) == ((), "")


@pytest.mark.parametrize("text", ["", "sh: not found\n", "user me\nhome /home/me\n"])
def test_a_machine_without_a_posix_shell_has_no_facts(text: str) -> None:
    assert parse_machine(text) is None


@pytest.mark.parametrize("name", ["my project", "it's $HOME", "你好", "UPPER", "-x", "a" * 300])
def test_the_folder_there_has_plain_letters(name: str) -> None:
    assert re.fullmatch(
        r"dlimg-runs/[a-z0-9][a-z0-9-]{0,29}-[0-9a-f]{8}", remote_base(f"/h/{name}")
    )


def test_folders_of_one_name_have_different_places() -> None:
    assert remote_base("/a/project") != remote_base("/b/project")
    assert remote_base("/a/project") == remote_base("/a/project")
