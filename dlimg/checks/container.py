"""The container that checks run in, replaced by a fresh one after a check that left it dirty."""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import docker
from docker.models.containers import Container
from docker.types import Mount

from dlimg.checks.container_setup import ROOT
from dlimg.checks.execute import RunningContainer, first_environment
from dlimg.engine.client import Engine
from dlimg.errors import DlimgError
from dlimg.host.interrupt import interruptible


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """The parts of a container: the image, the engine's options, the files as a tar.

    `refusal` makes the error for an engine that cannot create it; `grace` is as in
    `RunningContainer`.
    """

    digest: str
    options: Mapping[str, Any]
    files: bytes
    has_device: bool
    memory: int
    grace: float
    refusal: Callable[[docker.errors.APIError], DlimgError]


class CheckContainer:
    """An idle container, created when it is first needed, and again after `remove`."""

    def __init__(self, engine: Engine, spec: ContainerSpec) -> None:
        self._engine = engine
        self._spec = spec
        self._name = ""
        self._running: RunningContainer | None = None

    def running(self) -> RunningContainer:
        """Return the running container; raises the `refusal` of an engine that cannot make it."""
        if self._running is None:
            self._running = self._start()
        return self._running

    def remove(self) -> None:
        """Remove the container; the next check gets a fresh one."""
        self._running = None
        if self._name:
            with contextlib.suppress(docker.errors.NotFound):
                self._engine.sdk.api.remove_container(self._name, force=True, v=True)
        self._name = ""

    def _start(self) -> RunningContainer:
        spec = self._spec
        # Named before it is created, so that an interrupt leaves no container behind.
        self._name = f"dlimg-check-{secrets.token_hex(6)}"
        try:
            container = self._engine.sdk.containers.create(
                spec.digest,
                name=self._name,
                entrypoint=["sleep", "infinity"],
                # A read-only container takes files only in a volume.
                mounts=[Mount(ROOT, None, type="volume")],
                mem_limit=spec.memory,
                memswap_limit=spec.memory,
                use_config_proxy=False,  # it may hold the user's password
                **spec.options,
            )
            container.start()
            container.put_archive(ROOT, spec.files)
        except docker.errors.APIError as error:
            raise spec.refusal(error) from error
        return self._describe(container)

    def _describe(self, container: Container) -> RunningContainer:
        return RunningContainer(
            container=container,
            api=self._engine.sdk.api,
            environment=first_environment(container) if self._spec.has_device else {},
            memory=self._spec.memory,
            grace=self._spec.grace,
        )


@contextlib.contextmanager
def open_container(engine: Engine, spec: ContainerSpec) -> Iterator[CheckContainer]:
    """Yield a container of this spec; it is removed at the end, also after an error."""
    with interruptible():
        container = CheckContainer(engine, spec)
        try:
            yield container
        finally:
            container.remove()
