"""An engine in memory for the tests of runs: images, containers and their states."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import docker
import requests

from dlimg.context import Context
from dlimg.engine.client import Engine

CONFIG = {"Entrypoint": ["entry"], "User": "1000:100", "Env": ["PATH=/bin", "USER=somebody"]}


def _response(status: int) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    return response


def not_found(text: str) -> docker.errors.NotFound:
    return docker.errors.NotFound("404", response=_response(404), explanation=text)


def server_error(text: str) -> docker.errors.APIError:
    return docker.errors.APIError("500", response=_response(500), explanation=text)


@dataclass
class FakeApi:
    """The requests that runs make; what they create is kept in `created` and `containers`."""

    images: dict[str, str] = field(default_factory=dict)
    pullable: dict[str, str] = field(default_factory=dict)
    containers_by_id: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: list[Mapping[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    signals: list[str] = field(default_factory=list)
    stored: list[Mapping[str, Any]] = field(default_factory=list)
    archives: list[bytes] = field(default_factory=list)
    start_error: str = ""
    pull_error: str = ""

    def inspect_image(self, name: str) -> Mapping[str, Any]:
        if name not in self.images:
            raise not_found(f"No such image: {name}")
        return {"Id": self.images[name], "RepoDigests": [], "Config": CONFIG}

    def pull(self, repository: str, tag: str, **_options: Any) -> Iterator[Mapping[str, Any]]:
        if self.pull_error:
            raise server_error(self.pull_error)
        name = f"{repository}:{tag}"
        if name not in self.pullable:
            raise not_found("manifest unknown")
        self.images[name] = self.pullable[name]
        return iter([{"status": "Pull complete", "id": "layer"}])

    def create_host_config(self, **options: Any) -> Mapping[str, Any]:
        return options

    def create_container(self, **options: Any) -> Mapping[str, str]:
        self.created.append(options)
        number = f"container{len(self.created)}"
        self.set_state(number, "created")
        return {"Id": number}

    def set_state(self, number: str, status: str, **state: Any) -> None:
        self.containers_by_id[number] = {
            "State": {
                "Status": status,
                "StartedAt": "2026-11-29T10:00:00.5Z",
                "FinishedAt": "2026-11-29T10:01:00.5Z",
                "ExitCode": 0,
                **state,
            },
            "Mounts": [{"Destination": "/code"}, {"Destination": "/output"}],
        }

    def start(self, container: str) -> None:
        if self.start_error:
            raise server_error(self.start_error)
        self.set_state(container, "running")

    def inspect_container(self, container: str) -> Mapping[str, Any]:
        if container not in self.containers_by_id:
            raise not_found("No such container")
        return self.containers_by_id[container]

    def containers(self, **_filters: Any) -> list[Mapping[str, Any]]:
        return [
            {
                "Id": number,
                "State": row["State"]["Status"],
                "Labels": row.get("Config", {}).get("Labels", {}),
            }
            for number, row in self.containers_by_id.items()
        ]

    def volumes(self, **_filters: Any) -> Mapping[str, Any]:
        return {"Volumes": self.stored}

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self.stored.append({"Name": name, "Labels": labels})

    def import_image_from_data(self, _data: bytes, *, repository: str, tag: str) -> None:
        self.images[f"{repository}:{tag}"] = "sha256:22"

    def put_archive(self, _container: str, _path: str, data: Iterable[bytes]) -> None:
        self.archives.append(b"".join(data))

    def diff(self, _container: str) -> list[dict[str, Any]]:
        return self.changes

    def kill(self, _container: str, signal: str) -> None:
        self.signals.append(signal)

    def remove_container(self, container: str, **_options: Any) -> None:
        if self.containers_by_id.pop(container, None) is None:
            raise not_found("No such container")
        self.removed.append(container)


@dataclass
class FakeSdk:
    api: FakeApi
    details: dict[str, Any]

    def info(self) -> Mapping[str, Any]:
        return self.details


def engine(api: FakeApi, context: Context, host: str = "tcp://fake", **details: Any) -> Engine:
    """An engine whose answers are those of the fake; `details` are those of `docker info`."""
    sdk = cast("docker.DockerClient", FakeSdk(api=api, details=dict(details)))
    return Engine(
        host=host,
        private=False,
        version="29.0.0",
        docker=Path("docker"),
        context=context,
        root="",
        sdk=sdk,
    )
