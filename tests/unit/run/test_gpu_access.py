"""GPU access by what the engine takes, and CDI files that name missing drivers."""

import json
from pathlib import Path
from typing import Any

import pytest

from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.run import gpu_access
from dlimg.run.model import GpuAccess
from tests.support import run_engine


def cdi(*names: str) -> list[dict[str, str]]:
    return [{"Source": "cdi", "ID": name} for name in names]


@pytest.mark.parametrize(
    ("details", "access"),
    [
        ({}, GpuAccess()),
        ({"Runtimes": {"runc": {}}}, GpuAccess()),
        ({"Runtimes": {"nvidia": {}}}, GpuAccess(kind="runtime")),
        (
            {"DiscoveredDevices": cdi("nvidia.com/gpu=0", "nvidia.com/gpu=all")},
            GpuAccess(kind="cdi", devices=("nvidia.com/gpu=all",)),
        ),
        (
            {"DiscoveredDevices": cdi("nvidia.com/gpu=all"), "Runtimes": {"nvidia": {}}},
            GpuAccess(kind="cdi", devices=("nvidia.com/gpu=all",)),
        ),
        ({"DiscoveredDevices": cdi("example.com/gpu=0")}, GpuAccess()),
    ],
)
def test_the_engine_decides_how_gpus_are_given(
    details: dict[str, Any], access: GpuAccess, context: Context
) -> None:
    engine = run_engine.engine(run_engine.FakeApi(), context, **details)
    assert gpu_access.gpu_access(engine) == access


def test_a_named_device_must_exist(context: Context) -> None:
    engine = run_engine.engine(
        run_engine.FakeApi(), context, DiscoveredDevices=cdi("example.com/gpu=0")
    )
    expected = GpuAccess(kind="cdi", devices=("example.com/gpu=0",))
    assert gpu_access.gpu_access(engine, "example.com/gpu=0") == expected
    with pytest.raises(BadInput, match="no device example"):
        gpu_access.gpu_access(engine, "example.com/gpu=1")


SPEC = {
    "kind": "nvidia.com/gpu",
    "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0"}]}}],
    "containerEdits": {"mounts": [{"hostPath": "", "containerPath": "/lib/libcuda.so.1"}]},
}


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_cdi_file_that_names_a_missing_driver_is_stale(
    suffix: str, tmp_path: Path, context: Context
) -> None:
    library = tmp_path / "libcuda.so.550.54.15"
    mounts = [{"hostPath": str(library), "containerPath": "/lib/libcuda.so.1"}]
    file = tmp_path / "cdi" / f"nvidia.{suffix}"
    file.parent.mkdir()
    file.write_text(json.dumps({**SPEC, "containerEdits": {"mounts": mounts}}))  # also YAML
    folders = [str(file.parent), "/nowhere"]
    engine = run_engine.engine(
        run_engine.FakeApi(), context, host="unix:///fake", CDISpecDirs=folders
    )
    problem = gpu_access.stale_cdi(engine)
    assert problem is not None
    assert str(library) in problem.message
    assert problem.hint == f"sudo nvidia-ctk cdi generate --output={file}"
    library.touch()
    assert gpu_access.stale_cdi(engine) is None


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"kind": "example.com/gpu"}', "a: [", "\x00"])
def test_other_files_are_no_stale_cdi(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    assert gpu_access.host_paths(file) == ()
    assert gpu_access.host_paths(tmp_path / "missing.yaml") == ()
