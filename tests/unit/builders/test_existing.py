"""Images that the engine has already: one request for each repository."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dlimg.builders.builder import BuildParameters, existing_images
from dlimg.builders.choose import build_images
from dlimg.builders.secrets import Secrets
from dlimg.context import Context
from dlimg.engine import ownership
from dlimg.errors import NoEngine
from dlimg.lock import store
from dlimg.model import BuildFailure, BuiltImage, PlannedImage
from dlimg.render.bake import BUILDER_LABEL
from tests.support.samples import image, planned

KEY = "ab" * 32


class Api:
    """Answers like the engine, and counts requests."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = rows
        self.asked: list[str] = []
        self.tagged: list[tuple[str, str, str]] = []

    def images(self, *, filters: Mapping[str, str], **_: bool) -> Sequence[Mapping[str, Any]]:
        self.asked.append(filters["reference"])
        return self.rows

    def tag(self, name: str, repository: str, tag: str) -> None:
        self.tagged.append((name, repository, tag))


def several(count: int) -> list[PlannedImage]:
    plan = planned(key=KEY)
    tags = [f"{plan.image.tag}-{number}" for number in range(count)]
    return [replace(plan, image=replace(image(), tag=tag)) for tag in tags]


def row(plan: PlannedImage, digest: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    names = [plan.reference, plan.moving_reference]
    return {"Id": digest, "RepoTags": names, "Labels": labels, "Size": 7}


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path)}


def test_forty_images_are_one_request(state: dict[str, str]) -> None:
    forty = several(40)
    rows = [row(plan, f"sha256:{number:064d}") for number, plan in enumerate(forty)]
    for each in rows:
        ownership.record_build(Context.of(state, print), KEY, each["Id"])
    api = Api(rows)
    engine: Any = SimpleNamespace(context=Context.of(state, print), sdk=SimpleNamespace(api=api))
    result = existing_images(forty, engine)
    assert list(result) == [plan.reference for plan in forty]
    assert {(one.size, one.cached) for one in result.values()} == {(7, True)}
    assert (api.asked, api.tagged) == ([forty[0].image.repository], [])


def test_only_images_of_this_builder_count_as_existing(state: dict[str, str]) -> None:
    made_here, by_other, strange, missing = several(4)
    rows = [
        row(made_here, "sha256:1", {BUILDER_LABEL: "buildkit"}),
        row(by_other, "sha256:2", {BUILDER_LABEL: "layers/1"}),
        row(strange, "sha256:3", {BUILDER_LABEL: "buildkit"}),
    ]
    ownership.record_build(Context.of(state, print), KEY, "sha256:1")
    ownership.record_build(Context.of(state, print), KEY, "sha256:2")
    engine: Any = SimpleNamespace(
        context=Context.of(state, print), sdk=SimpleNamespace(api=Api(rows))
    )
    every = [made_here, by_other, strange, missing]
    assert list(existing_images(every, engine, "buildkit")) == [made_here.reference]
    assert list(existing_images(every, engine, "layers")) == [by_other.reference]
    assert list(existing_images(every, engine, "layers/1")) == [by_other.reference]
    assert list(existing_images(every, engine, "layers/2")) == []
    assert list(existing_images(every, engine)) == [made_here.reference, by_other.reference]


def test_a_moving_name_that_leads_elsewhere_is_led_back(state: dict[str, str]) -> None:
    [plan] = several(1)
    ownership.record_build(Context.of(state, print), KEY, "sha256:1")
    api = Api([{"Id": "sha256:1", "RepoTags": [plan.reference], "Labels": None, "Size": 7}])
    engine: Any = SimpleNamespace(context=Context.of(state, print), sdk=SimpleNamespace(api=api))
    assert list(existing_images([plan], engine)) == [plan.reference]
    assert api.tagged == [(plan.reference, plan.image.repository, plan.image.tag)]


def built(every: Sequence[PlannedImage], engine: Any) -> tuple[BuiltImage | BuildFailure, ...]:
    return build_images(
        every,
        engine,
        BuildParameters(jobs=1, secrets=Secrets(), find_links=(), on_progress=lambda _: None),
        option="auto",
        log=lambda _: None,
    )


def test_buildx_is_asked_for_by_what_is_not_there(state: dict[str, str]) -> None:
    present, missing = several(2)
    ownership.record_build(Context.of(state, print), KEY, "sha256:1")
    sdk = SimpleNamespace(api=Api([row(present, "sha256:1")]))
    engine: Any = SimpleNamespace(
        environment=state,
        context=Context.of(state, print),
        sdk=sdk,
        docker=Path("/nowhere/docker"),
        docker_argv=lambda *arguments: ["/nowhere/docker", *arguments],
    )
    assert [type(one) for one in built([present], engine)] == [BuiltImage]
    with pytest.raises(NoEngine, match="has no buildx plugin"):
        built([present, missing], engine)


def test_no_planned_image_means_no_request(state: dict[str, str]) -> None:
    api = Api([])
    engine: Any = SimpleNamespace(context=Context.of(state, print), sdk=SimpleNamespace(api=api))
    assert existing_images([], engine) == {}
    assert api.asked == []


def test_a_lock_is_parsed_once_as_long_as_it_says_the_same() -> None:
    folder = Path(__file__).parents[3] / "locks"
    name = next(path.stem for path in sorted(folder.glob("jax-*.json")))
    first = store.read_lock(name, folder)
    assert first is not None
    assert store.read_lock(name, folder) is first
