"""Small values for tests: every builder takes the fields that a test cares about."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from dlimg.model import (
    CPU,
    Base,
    BaseSource,
    Cell,
    Flavour,
    Framework,
    Image,
    Lock,
    OperatingSystem,
    PlannedImage,
    Stack,
    StackException,
    Wheel,
)
from dlimg.render.frameworks import read_frameworks
from tests.support.image_folders import files_in

FRAMEWORKS: Final = read_frameworks(files_in(Path(__file__).parents[2] / "images"))
PLATFORM: Final = "x86_64-manylinux_2_28"
OPERATING_SYSTEMS: Final[Mapping[str, OperatingSystem]] = MappingProxyType(
    {
        system.name: system
        for system in (
            OperatingSystem(
                name="debian12",
                distribution="Debian 12",
                vendor="debian",
                suite="bookworm",
                image="debian:bookworm-slim",
                python="3.11",
            ),
            OperatingSystem(
                name="debian13",
                distribution="Debian 13",
                vendor="debian",
                suite="trixie",
                image="debian:trixie-slim",
                python="3.13",
            ),
            OperatingSystem(
                name="ubuntu24.04",
                distribution="Ubuntu 24.04",
                vendor="ubuntu",
                suite="noble",
                image="ubuntu:noble",
                python="3.12",
            ),
        )
    }
)


def system(name: str = "debian13") -> OperatingSystem:
    return OPERATING_SYSTEMS[name]


def stack(  # noqa: PLR0913  # a builder has one argument for each field
    name: str = "cuda13.2",
    *,
    lock_name: str = "",
    leader: str = "torch==2.15.0",
    python: str = "3.13",
    cudnn: str = "",
    other_cudnn: bool = False,
    exceptions: tuple[StackException, ...] = (),
) -> Stack:
    return Stack(
        name=name,
        lock_name=lock_name or name,
        cuda=name.removeprefix("cuda"),
        leader=leader,
        python=python,
        platform=PLATFORM,
        cudnn=cudnn,
        other_cudnn=other_cudnn,
        exceptions=exceptions,
    )


def cell(  # noqa: PLR0913  # a builder has one argument for each axis
    family: str = "pytorch",
    version: str = "2.15.0",
    *,
    accelerator: str = CPU,
    on: Stack | None = None,
    package: str = "torch",
    python: str = "",
    managed_python: str = "",
    os: str = "debian13",
    flavour: Flavour = Flavour.RUNTIME,
    requirements: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Cell:
    """A cell; `accelerator` other than cpu gets a stack of that name, `on` gives a whole one."""
    if on is None and accelerator != CPU:
        on = stack(accelerator)
    return Cell(
        family=family,
        package=package,
        version=version,
        accelerator=on.name if on else CPU,
        stack=on,
        python=python or OPERATING_SYSTEMS[os].python,
        managed_python=managed_python,
        os=OPERATING_SYSTEMS[os],
        flavour=flavour,
        platform=PLATFORM,
        requirements=requirements or (f"{package}=={version}", "pip"),
        notes=notes,
        framework=FRAMEWORKS.get(family, Framework()),
    )


def wheel(
    name: str = "torch",
    version: str = "2.15.0",
    *,
    file: str = "",
    size: int = 1000,
    sha256: str = "",
    local: bool = False,
) -> Wheel:
    return Wheel(
        name=name,
        version=version,
        file=file or f"{name.replace('-', '_')}-{version}-py3-none-any.whl",
        size=size,
        sha256=sha256 or _digits(f"{name}-{version}"),
        local=local,
    )


def lock(
    name: str = "pytorch-2.15.0-cpu-py3.13-debian13",
    *,
    wheels: tuple[Wheel, ...] = (),
    inputs: str = "",
    python: str = "3.13",
) -> Lock:
    return Lock(
        name=name,
        inputs=inputs or f"sha256:{_digits(name)}",
        python=python,
        platform=PLATFORM,
        wheels=wheels or (wheel("pip", "26.3"), wheel()),
    )


def image(  # noqa: PLR0913  # the same, for an image
    of: Cell | None = None,
    *,
    locked: Lock | None = None,
    dockerfile: str = "FROM debian:trixie-slim\n",
    labels: Mapping[str, str] = MappingProxyType({}),
    repository: str = "dlimg/pytorch",
    tag: str = "2.15.0-cpu-py3.13-debian13",
    aliases: tuple[str, ...] = (),
) -> Image:
    chosen = of or cell()
    return Image(
        cell=chosen,
        lock=locked or lock(chosen.id),
        dockerfile=dockerfile,
        labels=labels,
        repository=repository,
        tag=tag,
        aliases=aliases,
    )


def base(os: str = "debian13", source: BaseSource = BaseSource.BOOTSTRAP) -> Base:
    return Base(
        os=os,
        source=source,
        identity=f"sha256:{_digits(os)}",
        reference=f"dlimg-base:{os}",
    )


def planned(
    of: Image | None = None, *, on: Base | None = None, key: str = "", packages: str = ""
) -> PlannedImage:
    chosen = of or image()
    return PlannedImage(
        image=chosen,
        base=on or base(chosen.cell.os.name),
        key=key or _digits(chosen.tag),
        packages=packages,
    )


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
