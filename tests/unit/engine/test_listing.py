"""Lists of an engine that fail because another process removes an image meanwhile."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError, NotFound

from dlimg.context import Context
from dlimg.engine import client
from dlimg.engine.client import Engine, disk_usage, list_images

ROWS = [{"Id": "sha256:1"}]
LOST = NotFound("404", explanation="NotFound: content digest sha256:2: not found")


class BusyEngine:
    """Fails with these errors, one for each request, and answers then."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        self.errors = list(errors)
        self.requests: list[Mapping[str, Any]] = []
        self.api = SimpleNamespace(images=self.images)

    def images(self, **options: Any) -> Sequence[Mapping[str, Any]]:
        self.requests.append(options)
        if self.errors:
            raise self.errors.pop()
        return ROWS

    def df(self) -> Mapping[str, Any]:
        return {"Images": self.images()}

    def engine(self) -> Engine:
        sdk: Any = self
        return Engine(
            host="unix:///nowhere",
            private=False,
            version="28",
            docker=Path("docker"),
            context=Context.of({}, print),
            root="",
            sdk=sdk,
        )


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LIST_PAUSE", 0)


def test_a_list_during_which_images_are_removed_is_requested_again() -> None:
    busy = BusyEngine([LOST] * 3)
    assert list_images(busy.engine(), {"label": ["a"]}) == ROWS
    assert busy.requests == [{"filters": {"label": ["a"]}, "all": False}] * 4
    assert disk_usage(BusyEngine([LOST]).engine()) == {"Images": ROWS}


@pytest.mark.parametrize("request_list", [list_images, disk_usage])
def test_a_list_that_always_fails_is_an_error(request_list: Callable[[Engine], object]) -> None:
    busy = BusyEngine([LOST] * 100)
    with pytest.raises(NotFound):
        request_list(busy.engine())
    assert len(busy.requests) == client.LIST_ATTEMPTS


def test_another_error_of_a_list_is_not_repeated() -> None:
    busy = BusyEngine([APIError("500", explanation="disk is on fire")])
    with pytest.raises(APIError):
        list_images(busy.engine())
    assert len(busy.requests) == 1
