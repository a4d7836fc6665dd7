"""`prune` removes what dlimg made and named, and nothing that was built on it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import docker
import pytest
from docker.models.images import Image

from dlimg.builders.disk_space import RetainedImage, own_names, prune_engine
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.engine.ownership import OWNER_LABEL, owner_label, record_build

KEY = "0123456789ab" + "c" * 52
IDENTITY = "sha256:ba5e00000000" + "d" * 52
OF_BASE = {"io.dlimg.base-os": "debian13", "io.dlimg.base-identity": IDENTITY}
OURS = {**OF_BASE, "io.dlimg.key": KEY}
BASE = "dlimg-base:debian13-ba5e00000000"
GONE = "d/t:gone-0123456789ab"
# No process listens on this port.
TEMPORARY = f"127.0.0.1:1/dlimg-passing@sha256:{'a' * 64}"
IMMUTABLE, MOVING = "d/t:2-0123456789ab", "d/t:2"


@pytest.mark.parametrize(
    ("tags", "labels", "ours"),
    [
        ([IMMUTABLE, MOVING], OURS, [IMMUTABLE, MOVING]),
        ([IMMUTABLE, MOVING, "d/t:latest", "d/t:mine", "mine:1"], OURS, [IMMUTABLE, MOVING]),
        ([MOVING], OURS, []),
        (["built-on-top:1"], OURS, []),
        (["built-on-top:1"], OF_BASE, []),
        ([BASE], OF_BASE, [BASE]),
        ([BASE, "dlimg-base:mine", "mine:1"], OF_BASE, [BASE]),
        ([BASE], {}, []),
        ([BASE], OURS, []),
        ([], OURS, []),
    ],
)
def test_only_the_names_that_dlimg_gave(
    tags: list[str], labels: dict[str, str], ours: list[str]
) -> None:
    assert own_names(tags, labels) == ours


class FakeImages:
    """Images by id; those in use cannot be removed."""

    def __init__(self, images: Sequence[Image], in_use: Sequence[str]) -> None:
        self.found = images
        self.in_use = in_use
        self.removed: list[str] = []

    def __call__(self, *, filters: Mapping[str, Any] | None, **_: bool) -> list[Mapping[str, Any]]:
        if filters is None:
            return [{"RepoTags": [], "RepoDigests": [TEMPORARY]}]
        (label,) = filters["label"]
        return [
            {**image.attrs, "Labels": image.labels} for image in self.found if label in image.labels
        ]

    def remove(self, name: str) -> None:
        if name == GONE:
            raise docker.errors.ImageNotFound("404")
        if name in self.in_use:
            raise docker.errors.APIError("409", explanation="container 7 is using it")
        self.removed.append(name)


def container(name: str, owned_by: str = "", state: str = "running") -> dict[str, Any]:
    labels = {OWNER_LABEL: owned_by} if owned_by else {}
    return {"Id": name, "Names": [f"/{name}"], "Labels": labels, "State": state}


class FakeSdk:
    """The parts of the SDK that `prune` uses."""

    def __init__(self, images: FakeImages) -> None:
        self.images = images
        self.api = self
        self.cancelled_pulls = 2
        self.containers_there: list[Mapping[str, Any]] = [container("checking"), container(GONE)]

    def df(self) -> Mapping[str, Any]:
        return {}

    def containers(self, **_: object) -> list[Mapping[str, Any]]:
        return self.containers_there

    def remove_container(self, name: str, *, force: bool, v: bool) -> None:
        assert (force, v) == (True, True)
        if name == GONE:
            raise docker.errors.NotFound("404")

    def prune_builds(self, **_: object) -> Mapping[str, Any]:
        return {}

    def prune_images(self, *, filters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Without a filter that fits no image, the engine would remove the user's."""
        (label,) = filters["label"]
        assert not any(label in image.labels for image in self.images.found)
        self.cancelled_pulls = 0
        return {}


def image(number: int, labels: Mapping[str, str], *tags: str) -> Image:
    return Image(
        attrs={"Id": f"sha256:{number}", "Config": {"Labels": labels}, "RepoTags": list(tags)}
    )


def pruned(
    tmp_path: Path,
    *images: Image,
    in_use: Sequence[str] = (),
    containers: Sequence[dict[str, Any]] = (),
) -> Any:
    """Prune these images, of which those with the ids 1 to 4 were built here."""
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    for number in (1, 2, 3, 4):
        for key in (KEY, IDENTITY):
            record_build(Context.of(environment, print), key, f"sha256:{number}")
    sdk = FakeSdk(FakeImages(images, in_use))
    sdk.containers_there += containers
    return prune_engine(engine_of(tmp_path, sdk))


def engine_of(state: Path, sdk: FakeSdk) -> Engine:
    return Engine(
        host="unix:///x",
        private=True,
        version="28.5.2",
        docker=Path("docker"),
        context=Context.of({"XDG_STATE_HOME": str(state)}, print),
        root="",
        sdk=cast("docker.DockerClient", sdk),
    )


def test_prune_removes_images_made_here(tmp_path: Path) -> None:
    result = pruned(
        tmp_path,
        image(1, OURS, IMMUTABLE, MOVING, "mine:1"),
        image(2, OURS),
        image(3, OF_BASE, BASE),
        image(4, OF_BASE),
    )
    assert result.images == (IMMUTABLE, MOVING, "sha256:2", BASE, "sha256:4")
    assert result.retained == ()


def test_prune_removes_names_and_layers_of_interrupted_loads(tmp_path: Path) -> None:
    sdk = FakeSdk(FakeImages((), ()))
    prune_engine(engine_of(tmp_path, sdk))
    assert sdk.images.removed == [TEMPORARY]
    assert not sdk.cancelled_pulls


def test_prune_leaves_pulls_alone_in_an_engine_of_others(tmp_path: Path) -> None:
    sdk = FakeSdk(FakeImages((), ()))
    prune_engine(replace(engine_of(tmp_path, sdk), private=False))
    assert sdk.cancelled_pulls


@pytest.mark.parametrize(
    ("labels", "tags", "named"),
    [
        (OURS, (), "sha256:9"),
        (OF_BASE, (), "sha256:9"),
        (OURS, (IMMUTABLE,), IMMUTABLE),
        (OURS, ("mine:1",), ""),
        (OURS, ("d/t:mine",), ""),
    ],
)
def test_prune_keeps_images_built_on_ours(
    tmp_path: Path, labels: Mapping[str, str], tags: tuple[str, ...], named: str
) -> None:
    result = pruned(tmp_path, image(9, labels, *tags))
    assert result.images == ()
    assert [one.name for one in result.retained] == ([named] if named else [])
    assert all(
        "there is no record that dlimg built it here" in one.reason for one in result.retained
    )


def test_images_removed_meanwhile_are_no_failure(tmp_path: Path) -> None:
    result = pruned(tmp_path, image(1, OURS, GONE))
    assert result.images == (GONE,)
    assert result.retained == ()
    assert result.containers == ("checking",)


def test_why_an_image_stays_is_said_in_the_engines_words(tmp_path: Path) -> None:
    result = pruned(tmp_path, image(1, OURS, IMMUTABLE, MOVING), in_use=[MOVING])
    assert result.images == (IMMUTABLE,)
    assert result.retained == (RetainedImage(name=MOVING, reason="container 7 is using it"),)


def test_containers_of_a_running_dlimg_stay(tmp_path: Path) -> None:
    place, number, started = owner_label().rsplit(":", 2)
    result = pruned(
        tmp_path,
        containers=[
            container("mine", owner_label()),
            container("left", f"{place}:{number}:{int(started) - 1}"),
            container("far", "another-machine:1:2:3"),
            container("ended", "another-machine:1:2:3", state="exited"),
        ],
    )
    assert result.containers == ("checking", "left", "ended")
    assert [(one.name, one.reason) for one in result.retained] == [
        ("mine", "a running dlimg uses it"),
        ("far", "a dlimg on another host may use it; `docker rm --force far` removes it"),
    ]
