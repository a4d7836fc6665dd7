"""Where checks run: a container of the image, fresh again after one that left it in disorder."""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import docker
from docker.models.containers import Container
from docker.types import Mount

from dlimg.host.interrupt import (interruptible)
from dlimg.checks.execute import RunningContainer, first_environment
from dlimg.checks.script_files import ROOT
from dlimg.engine.client import Engine
from dlimg.errors import DlimgError


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """What a container is made of: the image, the engine's options, the scripts as a tar.

    `refusal` says what it means that the engine does not make it; `patience` is as a
    `RunningContainer` has.
    """

    digest: str
    options: Mapping[str, Any]
    files: bytes
    has_device: bool
    memory: int
    patience: float
    refusal: Callable[[docker.errors.APIError], DlimgError]


class CheckContainer:
    """A container that does nothing; made when it is first asked for, and anew when spent."""

    def __init__(self, engine: Engine, recipe: ContainerSpec) -> None:
        self._engine = engine
        self._recipe = recipe
        self._name = ""
        self._place: RunningContainer | None = None

    def place(self) -> RunningContainer:
        """The running container; raises what `refusal` makes of an engine that gives none."""
        if self._place is None:
            self._place = self._started()
        return self._place

    def clear(self) -> None:
        """Let the container go; who asks next gets a fresh one."""
        self._place = None
        if self._name:
            with contextlib.suppress(docker.errors.NotFound):
                self._engine.sdk.api.remove_container(self._name, force=True, v=True)
        self._name = ""

    def _started(self) -> RunningContainer:
        recipe = self._recipe
        # The name is known before the container is there, so an interrupt leaves nothing behind.
        self._name = f"dlimg-check-{secrets.token_hex(6)}"
        try:
            container = self._engine.sdk.containers.create(
                recipe.digest,
                name=self._name,
                entrypoint=["sleep", "infinity"],
                # What is read-only takes files only where it has a volume.
                mounts=[Mount(ROOT, None, type="volume")],
                mem_limit=recipe.memory,
                memswap_limit=recipe.memory,
                use_config_proxy=False,  # a proxy's password is the user's, and not the image's
                **recipe.options,
            )
            container.start()
            container.put_archive(ROOT, recipe.files)
        except docker.errors.APIError as error:
            raise recipe.refusal(error) from error
        return self._at(container)

    def _at(self, container: Container) -> RunningContainer:
        return RunningContainer(
            container=container,
            api=self._engine.sdk.api,
            environment=first_environment(container) if self._recipe.has_device else {},
            memory=self._recipe.memory,
            patience=self._recipe.patience,
        )


@contextlib.contextmanager
def ground(engine: Engine, recipe: ContainerSpec) -> Iterator[CheckContainer]:
    """A ground of this recipe; its container is removed whatever happens."""
    with interruptible():
        found = CheckContainer(engine, recipe)
        try:
            yield found
        finally:
            found.clear()
