"""Temporary image names: those of a dlimg that has ended are removed, others stay."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import docker
import pytest

from dlimg.builders.load import remove_leftover_names
from dlimg.context import Context
from dlimg.engine.client import Engine

DIGEST = f"sha256:{'a' * 64}"


class FakeSdk:
    """The SDK of an engine with images of these names."""

    def __init__(self, *names: str) -> None:
        self.images = self.api = self
        self.names = names
        self.removed: list[str] = []

    def __call__(self, **_: object) -> list[dict[str, Any]]:
        digests = [name for name in self.names if "@" in name]
        tags = [name for name in self.names if "@" not in name]
        return [{"RepoTags": tags, "RepoDigests": digests}, {"RepoTags": None, "RepoDigests": None}]

    def remove(self, name: str) -> None:
        self.removed.append(name)


@pytest.fixture
def refusing() -> int:
    """A port that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def busy() -> Iterator[int]:
    """A port whose dlimg is too busy to accept a connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        with contextlib.ExitStack() as callers:
            for _ in range(4):
                caller = callers.enter_context(socket.socket())
                caller.settimeout(0)
                caller.connect_ex(address)
            yield int(address[1])


@pytest.mark.slow
def test_only_temporary_names_of_ended_processes_are_removed(refusing: int) -> None:
    left = [
        f"127.0.0.1:{refusing}/dlimg-passing@{DIGEST}",
        f"127.0.0.1:{refusing}/dlimg-passing-whole:now",
    ]
    with socket.create_server(("127.0.0.1", 0)) as server, busy() as crowded:
        stay = [
            f"127.0.0.1:{server.getsockname()[1]}/dlimg-passing@{DIGEST}",
            f"127.0.0.1:{crowded}/dlimg-passing@{DIGEST}",
            f"127.0.0.1:{refusing}/team/jax@{DIGEST}",
            f"127.0.0.1:{refusing}/dlimg-passing:mine",
            "dlimg/jax:1",
        ]
        sdk = FakeSdk(*left, *stay)
        engine = Engine(
            host="unix:///x",
            private=True,
            version="28.5.2",
            docker=Path("docker"),
            context=Context.of({}, print),
            root="",
            sdk=cast("docker.DockerClient", sdk),
        )
        remove_leftover_names(engine)
    assert sorted(sdk.removed) == sorted(left)
