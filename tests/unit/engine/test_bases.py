"""Bases: how they are made, recognized and chosen; and how GPUs are requested."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest

from dlimg.context import Context
from dlimg.debian import bootstrap
from dlimg.debian.apt_sources import OsRelease
from dlimg.engine import bases, gpu
from dlimg.engine.client import Engine
from dlimg.errors import BadInput, NoEngine
from dlimg.model import Base, BaseSource, OperatingSystem
from dlimg.render import bake
from dlimg.render.naming import cell_labels
from tests.support import samples

DEBIAN = OperatingSystem(
    name="debian13",
    distribution="Debian 13",
    vendor="debian",
    suite="trixie",
    image="debian:trixie-slim",
    python="3.13",
)
UBUNTU = OperatingSystem(
    name="ubuntu24.04",
    distribution="Ubuntu 24.04",
    vendor="ubuntu",
    suite="noble",
    image="ubuntu:noble",
    python="3.12",
)
ON_DEBIAN = OsRelease(vendor="debian", suite="bookworm", family=frozenset({"debian"}))
DIGEST = "sha256:" + "ab" * 32


class FakeImages:
    """The images of an engine: names to labels."""

    def __init__(self, images: Mapping[str, Mapping[str, str]]) -> None:
        self.images = images

    def get(self, name: str) -> object:
        if name not in self.images:
            raise docker.errors.ImageNotFound(name)
        return object()

    def rows(self, *, filters: Mapping[str, str], **_: bool) -> list[Mapping[str, Any]]:
        return [
            {"RepoTags": [image], "Labels": labels or None, "Created": created}
            for created, (image, labels) in enumerate(self.images.items())
            if image.startswith(f"{filters['reference']}:")
        ]


class FakeSdk:
    def __init__(
        self, images: Mapping[str, Mapping[str, str]], about: Mapping[str, Any] | None = None
    ) -> None:
        self.images = FakeImages(images)
        self.api = SimpleNamespace(images=self.images.rows)
        self.about = about or {}

    def info(self) -> Mapping[str, Any]:
        return self.about


def an_engine(sdk: FakeSdk, tmp_path: Path, host: str = "unix:///x") -> Engine:
    return Engine(
        host=host,
        private=True,
        version="28.5.2",
        docker=Path("docker"),
        context=Context.of(
            {"DLIMG_ENGINE_HOME": str(tmp_path.parent / "e"), "DOCKER_HOST": host}, print
        ),
        root="",
        sdk=cast("docker.DockerClient", sdk),
    )


def test_the_command_for_the_machines_own_distribution() -> None:
    argv = bootstrap.mmdebstrap_argv(
        DEBIAN, Path("/t/base.tar"), root=Path("/r"), sources=Path("/t/dlimg.sources")
    )
    assert argv[0] == "/r/usr/bin/mmdebstrap"
    assert argv[-3:] == ("trixie", "/t/base.tar", "/t/dlimg.sources")
    assert {"--variant=minbase", "--include=ca-certificates", "--format=tar"} <= set(argv)
    assert not any(part.startswith("--components") for part in argv)


def test_the_command_for_another_distribution() -> None:
    argv = bootstrap.mmdebstrap_argv(UBUNTU, Path("/t/base.tar"), root=Path("/"), sources=None)
    assert argv[-2:] == ("noble", "/t/base.tar")
    assert "--components=main,universe" in argv


def test_a_recipe_stands_for_the_way_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    before = bootstrap.recipe_digest(DEBIAN)
    assert before == bootstrap.recipe_digest(DEBIAN) != bootstrap.recipe_digest(UBUNTU)
    monkeypatch.setattr(bootstrap, "INCLUDED", ("ca-certificates", "more"))
    assert bootstrap.recipe_digest(DEBIAN) != before


def test_identity_is_over_what_is_installed() -> None:
    status = (
        "Package: zsh\nStatus: install ok installed\nVersion: 1:5.9-4\nDescription: a\n b\n .\n\n"
        "Package: apt\nStatus: install ok installed\nVersion: 3.0.3\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
    )
    versions = bootstrap.parse_status(status)
    assert versions == {"apt": "3.0.3", "zsh": "1:5.9-4"}
    # printf 'apt=3.0.3\nzsh=1:5.9-4\n' | sha256sum
    assert bootstrap.identity_of(versions) == (
        "sha256:cd49bba3b099031bd3f3e78fb1344fef3f2624fb9974a8047a9034f6edd83032"
    )
    assert bootstrap.identity_of({**versions, "apt": "3.0.4"}) != bootstrap.identity_of(versions)


def test_another_distribution_needs_its_keyring(tmp_path: Path) -> None:
    bootstrap.check_keyring(DEBIAN, ON_DEBIAN, tmp_path)
    with pytest.raises(
        NoEngine, match=r"ubuntu-archive-keyring.gpg, which verifies its packages, is missing"
    ) as caught:
        bootstrap.check_keyring(UBUNTU, ON_DEBIAN, tmp_path)
    assert caught.value.exit_code == 4
    assert "ubuntu-keyring" in caught.value.problems[0].hint
    (tmp_path / "ubuntu-archive-keyring.gpg").touch()
    bootstrap.check_keyring(UBUNTU, ON_DEBIAN, tmp_path)


def test_a_base_made_before_is_found_again(tmp_path: Path) -> None:
    def written(identity: str, recipe: str) -> Mapping[str, str]:
        return {
            bases.OS_LABEL: "debian13",
            bases.IDENTITY_LABEL: identity,
            bases.RECIPE_LABEL: recipe,
        }

    now = bootstrap.recipe_digest(DEBIAN)
    sdk = FakeSdk(
        {
            "dlimg-base:debian13-old": written("sha256:" + "1" * 64, now),
            "dlimg-base:debian13-new": written("sha256:" + "2" * 64, now),
            # Before the label had a name of its own.
            "dlimg-base:debian13-newest": {
                "io.dlimg.base": "debian13",
                bases.IDENTITY_LABEL: "sha256:" + "5" * 64,
                bases.RECIPE_LABEL: now,
            },
            "dlimg-base:debian13-other": written("sha256:" + "3" * 64, "another way"),
            # Images built on a base inherit its labels.
            "ours/jax:1": written("sha256:" + "4" * 64, now),
        }
    )
    result = bases.find_base(
        an_engine(sdk, tmp_path), DEBIAN, choice="bootstrap", pins={}, log=print
    )
    assert result == Base(
        os="debian13",
        source=BaseSource.BOOTSTRAP,
        identity="sha256:" + "2" * 64,
        reference=f"docker-image://dlimg-base:debian13-{'2' * 12}",
    )


def test_a_bases_labels_are_not_those_of_an_image() -> None:
    of_base = {bases.OS_LABEL, bases.IDENTITY_LABEL, bases.RECIPE_LABEL}
    cell = samples.cell(accelerator="cuda13.2")
    of_image = cell_labels(cell, samples.lock()) | bake.final_labels(samples.planned(), "buildkit")
    assert not of_base & of_image.keys()


def test_a_pinned_image_that_is_there_needs_no_registry(tmp_path: Path) -> None:
    sdk = FakeSdk({f"debian:trixie-slim@{DIGEST}": {}})
    messages: list[str] = []
    result = bases.find_base(
        an_engine(sdk, tmp_path),
        DEBIAN,
        choice="auto",
        pins={"debian13": DIGEST},
        log=messages.append,
    )
    assert result == Base(
        os="debian13",
        source=BaseSource.REGISTRY,
        identity=DIGEST,
        reference=f"docker-image://debian:trixie-slim@{DIGEST}",
    )
    assert messages == [f"debian13 comes from the registry: debian:trixie-slim@{DIGEST}"]


def discovered(*names: str, runtimes: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """The `info` of an engine that has found these CDI devices."""
    return {
        "Runtimes": {name: {} for name in runtimes},
        "DiscoveredDevices": [
            *({"Source": "cdi", "ID": name} for name in names),
            {"Source": "other", "ID": "x"},
        ],
    }


ALL_KINDS = discovered(
    "docker.com/gpu=webgpu", "nvidia.com/gpu=0", "nvidia.com/gpu=all", runtimes=("nvidia",)
)


@pytest.mark.parametrize(
    ("about", "names", "default"),
    [
        ({}, (), None),
        (discovered(runtimes=("runc", "nvidia")), ("nvidia",), "nvidia"),
        (
            ALL_KINDS,
            ("nvidia.com/gpu=all", "nvidia.com/gpu=0", "docker.com/gpu=webgpu", "nvidia"),
            "nvidia.com/gpu=all",
        ),
        (discovered("docker.com/gpu=webgpu"), ("docker.com/gpu=webgpu",), None),
        (
            discovered("amd.com/gpu=0", "nvidia.com/nic=0", runtimes=("nvidia",)),
            ("nvidia.com/nic=0", "amd.com/gpu=0", "nvidia"),
            "nvidia",
        ),
    ],
)
def test_devices_that_the_engine_knows_and_the_one_that_is_taken(
    about: Mapping[str, Any], names: tuple[str, ...], default: str | None, tmp_path: Path
) -> None:
    engine = an_engine(FakeSdk({}, about), tmp_path, host="tcp://far:1")
    assert gpu.gpu_devices(engine) == names
    assert gpu.default_device(engine) == default


@pytest.mark.parametrize(
    ("about", "device", "hint"),
    [
        (ALL_KINDS, "nvidia.com/gpu=0", ""),
        (ALL_KINDS, "docker.com/gpu=webgpu", ""),
        (ALL_KINDS, "nvidia.com/gpu=7", "it has nvidia.com/gpu=all, nvidia.com/gpu=0"),
        ({}, "foo", "it has none"),
        ({}, "nvidia", "it has none"),
    ],
)
def test_a_device_that_the_engine_does_not_have_is_refused(
    about: Mapping[str, Any], device: str, hint: str, tmp_path: Path
) -> None:
    engine = an_engine(FakeSdk({}, about), tmp_path)
    if not hint:
        gpu.check_device(device, engine)
        return
    with pytest.raises(BadInput, match=f"the engine has no device {device}") as caught:
        gpu.check_device(device, engine)
    assert hint in caught.value.problems[0].hint


def test_a_far_engine_that_lists_no_devices_may_have_it(tmp_path: Path) -> None:
    engine = replace(an_engine(FakeSdk({}), tmp_path, host="tcp://far:1"), version="27.5.1")
    gpu.check_device("nvidia.com/gpu=0", engine)
    with pytest.raises(BadInput):
        gpu.check_device("nvidia.com/gpu=0", replace(engine, version="28.5.2+dfsg4"))


def test_devices_of_an_engine_that_does_not_list_them(tmp_path: Path) -> None:
    spec = {"cdiVersion": "0.6.0", "kind": "example.com/gpu", "devices": [{"name": "0"}]}
    (tmp_path / "a.json").write_text(json.dumps(spec))
    (tmp_path / "b.yaml").write_text("kind: example.com/nic\ndevices:\n- name: eth\n")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "kind.yaml").write_text("kind: [a]\ndevices: [{name: 0}, b, {name: [c]}]\n")
    (tmp_path / "tag.yaml").write_text("kind: !!int ''\ndevices: !!timestamp x\n")
    for suffix in ("json", "yaml"):
        (tmp_path / f"deep.{suffix}").write_text('{"devices": ' * 100_000)
        (tmp_path / f"deep-sequence.{suffix}").write_text("[" * 5_000 + "]" * 5_000)
    assert gpu.cdi_device_names(tmp_path) == ("example.com/gpu=0", "example.com/nic=eth")
    assert gpu.cdi_device_names(tmp_path / "none") == ()
    engine = an_engine(FakeSdk({}, {"CDISpecDirs": [str(tmp_path)]}), tmp_path)
    assert "example.com/gpu=0" in gpu.gpu_devices(engine)


def test_device_requests_of_an_engine() -> None:
    assert dict(gpu.device_request("example.com/gpu=0")) == {
        "Driver": "cdi",
        "Count": 0,
        "DeviceIDs": ["example.com/gpu=0"],
        "Capabilities": [],
        "Options": {},
    }
    everything = gpu.device_request("nvidia")
    assert (everything["Driver"], everything["Count"]) == ("nvidia", -1)
    assert everything["Capabilities"] == [["gpu"]]
