"""What `dlimg-info` knows of a made-up image on a made-up machine."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlimg.model import DriverFloor, EndOfLife
from dlimg.render.image_json import image_json
from tests.support import samples
from tests.support.made_up_driver import made_up_driver

LAYOUT = Path(__file__).parents[3] / "images" / "_layout"
CELL = replace(
    samples.cell(accelerator="cuda13.2"),
    architectures=("sm_90",),
    driver_floor=DriverFloor(version="580.65.06", source="https://example.com/drivers"),
    ends_of_life=(EndOfLife(part="Debian 13", day="2999-12-31", source="https://a.b/"),),
)
PROGRAM = """\
import json, os, sys
sys.path += sys.argv[1:3]
import diagnosis
diagnosis.OVERLAY = "home/user/env"
import info
facts = info.collect(os.environ, sys.argv[3])
print(json.dumps([facts, list(info.rows(facts))]))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with a GPU, a quota, and two packages that its user has installed."""
    packages = "home/user/env/lib/python3.13/site-packages"
    files = {
        "etc/dlimg/image.json": image_json(CELL, samples.lock(), "0123"),
        "dev/nvidiactl": "",
        "dev/nvidia-uvm": "",
        "dev/nvidia0": "",
        "proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\n",
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": f"{2 * 2**30}\n",
        "sys/fs/cgroup/cpu.max": "100000 100000\n",
        f"{packages}/six-1.17.0.dist-info/METADATA": "",
        f"{packages}/a_b-2.0.dist-info/METADATA": "",
        f"{packages}/dlimg.image": "0123\n",
        "home/me/envs/second/lib/python3.13/site-packages/c-3.dist-info/METADATA": "",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "modules").mkdir()
    (tmp_path / "dev/shm").mkdir()
    (tmp_path / "modules/dlimg_start.py").symlink_to(LAYOUT / "start.py")
    return tmp_path


def info(root: Path, environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The facts, and the rows of the text."""
    arguments = [str(LAYOUT), str(root / "modules"), f"{root}/"]
    done = subprocess.run(
        [sys.executable, "-BIS", "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=30,
    )
    assert done.stderr == ""
    facts, rows = json.loads(done.stdout)
    return facts, dict(rows)


def test_a_gpu_machine_is_told_with_the_image(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    library = made_up_driver(tmp_path_factory.mktemp("driver"))
    facts, rows = info(root, {"LD_LIBRARY_PATH": str(library), "HOME": "/home/me"})
    here = facts["machine"]
    assert here["gpus"] == [{"name": "H100", "capability": "9.0", "memory_bytes": 80 * 2**30}]
    assert (here["driver"], here["driver_cuda"]) == ("580.65.06", "13.2")
    assert (here["cpus"], here["memory_bytes"]) == (1, 2 * 2**30)
    assert facts["installed"] == {
        "/home/user/env": ["a_b==2.0", "six==1.17.0"],
        "/home/me/envs/second": ["c==3"],
    }
    assert facts["findings"] == []
    assert rows["image"] == CELL.id
    assert rows["driver"] == "580.65.06 or newer (https://example.com/drivers)"
    assert rows["GPU"] == "H100, compute capability 9.0, 80.0 GB"
    assert rows["CPUs"].startswith("1 of ")
    assert rows["memory"] == "2.0 GB"
    assert rows["fixes until"] == "2999-12-31: Debian 13"
    assert rows["in /home/user/env"] == "a_b==2.0 six==1.17.0"


def test_what_only_the_starter_knows_comes_from_variables(root: Path) -> None:
    facts, rows = info(root, {"CUDA_VISIBLE_DEVICES": "", "DLIMG_REFERENCE": "a/b:c"})
    assert "`dlimg inspect a/b:c`, outside" in "\n".join(facts["next"])
    assert rows["reference"] == "a/b:c"
    assert "digest" not in rows
    known = {"DLIMG_DIGEST": "sha256:1", "DLIMG_CONTENT_KEY": "k", "DLIMG_EVIDENCE": "gpu: passed"}
    facts, rows = info(root, {"CUDA_VISIBLE_DEVICES": "", **known})
    assert "dlimg inspect" not in "\n".join(facts["next"])
    assert (rows["digest"], rows["content key"], rows["evidence"]) == (
        "sha256:1",
        "k",
        "gpu: passed",
    )


def test_the_faults_of_the_machine_are_among_the_facts(root: Path) -> None:
    (root / "dev/nvidia0").unlink()
    (root / "dev/nvidiactl").unlink()
    (root / "dev/nvidia-uvm").unlink()
    facts, rows = info(root, {})
    assert [finding["name"] for finding in facts["findings"]] == ["no-gpu"]
    assert rows["GPU"] == "none"
