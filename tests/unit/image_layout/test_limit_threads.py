"""How many threads frameworks start, by the quotas and CPUs of made-up containers.

Python's start and a shell's function answer the same for each.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

LAYOUT = Path(__file__).parents[3] / "images" / "_layout"
SCRIPT = LAYOUT / "limit-threads.sh"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("dlimg_start", LAYOUT / "start.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


start = load()
TOP = "sys/fs/cgroup"
V2 = {"proc/self/cgroup": "0::/\n"}
V1 = {"proc/self/cgroup": "5:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n1:cpuset:/docker/1\n0::/\n"}
V1_FOLDER = f"{TOP}/cpu,cpuacct"
DEEP = {"proc/self/cgroup": "0::/kubepods/pod1/box\n"}


def quota_of_version_1(quota: str, folder: str = V1_FOLDER) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": "100000\n"}


# Files of the container, its CPUs of the machine's 384, and the threads; 0 where nothing is set.
MACHINES = [
    pytest.param({}, "0-383", 0, id="no cgroup"),
    pytest.param({**V2, f"{TOP}/cpu.max": "max 100000\n"}, "0-383", 0, id="no quota"),
    pytest.param({**V2, f"{TOP}/cpu.max": "100000 100000\n"}, "0-383", 1, id="one CPU"),
    pytest.param({**V2, f"{TOP}/cpu.max": "4600000 100000\n"}, "0-383", 46, id="46 of 384"),
    pytest.param({**V2, f"{TOP}/cpu.max": "150000 100000\n"}, "0-383", 2, id="a half more"),
    pytest.param({**V2, f"{TOP}/cpu.max": "10000 100000\n"}, "0-383", 1, id="a tenth"),
    pytest.param({**V2, f"{TOP}/cpu.max": "38400000 100000\n"}, "0-383", 0, id="all"),
    pytest.param({**V2, f"{TOP}/cpu.max": "50000000 100000\n"}, "0-383", 0, id="more than all"),
    pytest.param(
        {**DEEP, f"{TOP}/kubepods/pod1/cpu.max": "300000 100000\n", f"{TOP}/cpu.max": "max 100000"},
        "0-383",
        3,
        id="of the cgroup above",
    ),
    pytest.param(
        {**DEEP, f"{TOP}/kubepods/cpu.max": "300000 100000", f"{TOP}/cpu.max": "200000 100000"},
        "0-383",
        2,
        id="the least of several",
    ),
    pytest.param({f"{TOP}/cpu.max": "200000 100000"}, "0-383", 2, id="no /proc/self/cgroup"),
    pytest.param({**V1, **quota_of_version_1("-1")}, "0-383", 0, id="version 1, no quota"),
    pytest.param({**V1, **quota_of_version_1("250000")}, "0-383", 3, id="version 1"),
    pytest.param(
        {**V1, **quota_of_version_1("250000", f"{TOP}/cpu/docker/1")},
        "0-383",
        3,
        id="version 1 of the host",
    ),
    pytest.param({**V1, **quota_of_version_1("5", f"{TOP}/cpu")}, "0-383", 1, id="version 1, /cpu"),
    pytest.param({**V1, f"{V1_FOLDER}/cpu.cfs_quota_us": "1"}, "0-383", 0, id="half a version 1"),
    pytest.param({**V1, **quota_of_version_1("50000")}, "0-383", 1, id="version 1, a half"),
    pytest.param({**V1, **quota_of_version_1("")}, "0-383", 0, id="version 1, an empty file"),
    pytest.param(
        {**V1, **quota_of_version_1("-1"), **quota_of_version_1("300000", f"{V1_FOLDER}/docker")},
        "0-383",
        3,
        id="version 1, of the cgroup above",
    ),
    pytest.param(
        {**V1, **quota_of_version_1("-1", f"{TOP}/cpu"), **quota_of_version_1("250000")},
        "0-1",
        2,
        id="version 1, cpuset below quota",
    ),
    pytest.param(
        {
            "proc/self/cgroup": "4:cpuacct,cpu:/a/b\n0::/\n",
            **quota_of_version_1("150000", f"{TOP}/cpuacct,cpu/a"),
        },
        "0-383",
        2,
        id="version 1, names in another order",
    ),
    pytest.param(
        {
            "proc/self/cgroup": "2:cpu:/../../other\n0::/../..\n",
            **quota_of_version_1("200000", f"{TOP}/cpu"),
        },
        "0-383",
        2,
        id="a cgroup outside of the namespace",
    ),
    pytest.param(
        {"proc/self/cgroup": "\nodd\n3:cpu\n", f"{TOP}/cpu.max": "200000 100000"},
        "0-383",
        2,
        id="odd lines in /proc/self/cgroup",
    ),
    pytest.param({**V2, f"{TOP}/cpu.max": "max"}, "0-383", 0, id="no quota and no period"),
    pytest.param({**V2, f"{TOP}/cpu.max": "-1 100000\n"}, "0-383", 0, id="below zero"),
    pytest.param({**V2, f"{TOP}/cpu.max": "250000 100000"}, "0-383", 3, id="two and a half"),
    pytest.param({}, "0-3,8,10-11", 7, id="cpuset"),
    pytest.param({}, "383", 1, id="cpuset of one"),
    pytest.param({**V2, f"{TOP}/cpu.max": "300000 100000\n"}, "0-1", 2, id="cpuset below quota"),
    pytest.param({**V2, f"{TOP}/cpu.max": "100000 100000\n"}, "0-1", 1, id="quota below cpuset"),
    pytest.param({**V2, f"{TOP}/cpu.max": "odd\n"}, "0-383", 0, id="not a quota"),
    pytest.param({**V2, f"{TOP}/cpu.max": "1 0\n"}, "0-383", 0, id="no period"),
    pytest.param({**V2, f"{TOP}/cpu.max": ""}, "0-383", 0, id="an empty file"),
]


def plant(root: Path, files: Mapping[str, str], allowed: str) -> None:
    status = f"Name:\tsh\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\nMems_allowed:\t1\n"
    rest = {"sys/devices/system/cpu/online": "0-383\n", "proc/self/status": status}
    for path, text in {**rest, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def count(cpus: str) -> int:
    ranges = [part.split("-") for part in cpus.split(",")]
    return sum(int(part[-1]) - int(part[0]) + 1 for part in ranges)


@pytest.mark.parametrize(("files", "allowed", "threads"), MACHINES)
def test_python_counts_the_cpus_of_a_container(
    tmp_path: Path, files: dict[str, str], allowed: str, threads: int
) -> None:
    plant(tmp_path, files, allowed)
    assert start.usable_cpus(f"{tmp_path}/", count(allowed), 384) == threads


SHELLS = ["dash", "bash"]


def variables(shell: str, root: Path, script: str = "", **given: str) -> dict[str, str]:
    """The variables of a command after `limit_threads`, with `-eu` as strict scripts have it."""
    text = f". {SCRIPT}; limit_threads {root}; {script} exec env -0"
    done = subprocess.run(
        [shell, "-euc", text],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], **given},
    )
    assert done.stderr == ""
    return dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("files", "allowed", "threads"), MACHINES)
def test_a_shell_counts_the_cpus_of_a_container(
    tmp_path: Path, shell: str, files: dict[str, str], allowed: str, threads: int
) -> None:
    plant(tmp_path, files, allowed)
    found = variables(shell, tmp_path)
    expected = dict.fromkeys(start.THREADS, str(threads)) if threads else {}
    assert {name: found[name] for name in start.THREADS if name in found} == expected
    assert found.get("DLIMG_THREADS") == (str(threads) if threads else None)


OWN = {"OMP_NUM_THREADS": "7", "NPROC": ""}


def test_variables_of_the_user_stay(tmp_path: Path) -> None:
    plant(tmp_path, {**V2, f"{TOP}/cpu.max": "100000 100000"}, "0-383")
    of_python = dict(OWN)
    start.limit_threads(of_python, f"{tmp_path}/")
    for found in (of_python, *(variables(shell, tmp_path, **OWN) for shell in SHELLS)):
        assert {name: found[name] for name in OWN} == OWN
        assert found["TF_NUM_INTRAOP_THREADS"] == "1"
        assert "DLIMG_THREADS" not in found


def test_without_a_quota_nothing_is_set(tmp_path: Path) -> None:
    plant(tmp_path, V2, "0-383")
    environment: dict[str, str] = {}
    count = os.cpu_count
    if len(os.sched_getaffinity(0)) == os.sysconf("SC_NPROCESSORS_ONLN"):
        start.limit_threads(environment, f"{tmp_path}/")
        assert environment == {}
    assert os.cpu_count is count


def test_an_empty_machine_is_left_alone(tmp_path: Path) -> None:
    for shell in SHELLS:
        assert not set(start.THREADS) & variables(shell, tmp_path).keys()


@pytest.mark.parametrize(
    ("command_line", "is_spared"),
    [
        ("python /opt/env/bin/torchrun --nproc-per-node 8 train.py", True),
        ("python -m torch.distributed.run train.py", True),
        ("python train.py torchrun.txt", False),
        ("python", False),
    ],
)
def test_a_launcher_shares_out_the_cpus_itself(command_line: str, *, is_spared: bool) -> None:
    """`torchrun` gives each process one thread only where OMP_NUM_THREADS is not set."""
    code = (
        f"import sys; sys.path.insert(0, {str(LAYOUT)!r}); import os, start; "
        f"sys.orig_argv = {command_line.split()!r}; start.spare_launcher(os.environ); "
        "print(os.environ.get('OMP_NUM_THREADS'))"
    )
    for own, expected in (
        ({"OMP_NUM_THREADS": "46", "DLIMG_THREADS": "46"}, "None" if is_spared else "46"),
        ({"OMP_NUM_THREADS": "8", "DLIMG_THREADS": "46"}, "8"),
        ({"OMP_NUM_THREADS": "46"}, "46"),
    ):
        done = subprocess.run(
            [sys.executable, "-IBc", code], capture_output=True, text=True, check=True, env=own
        )
        assert done.stdout.strip() == expected
