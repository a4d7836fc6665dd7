"""One combination of everything that must fit together, as far as it was said."""

from typing import Literal, NamedTuple

from dlimg.choose.facts_nouns import Distribution, Gpu
from dlimg.choose.releases import X86_64, Build, Release
from dlimg.model import Lock


class Combination(NamedTuple):
    """A framework's release and build, and what it is to run on; what is None or empty is open.

    `package` is the word for it in the question (`tensorflow-gpu`), empty for the framework's own.
    `cuda` is a minor, empty for a build without; `cudnn` may be the beginning of a version. A
    `driver` may be a bare branch (`550`): then it stands for the newest of it. `platform` is what
    wheels may ask for. `wheels` are locked: they outrank what the facts say. `compat` tells
    whether a package for forward compatibility of the driver can be added to the image.
    """

    framework: str
    version: str
    package: str = ""
    release: Release | None = None
    build: Build | None = None
    cuda: str = ""
    cudnn: str = ""
    python: str = ""
    distribution: Distribution | None = None
    gpu: Gpu | None = None
    driver: str = ""
    machine: str = X86_64
    platform: str = ""
    flavour: str = ""
    wheels: Lock | None = None
    compat: Literal["possible", "absent"] = "possible"

    @property
    def name(self) -> str:
        """`torch 2.6.0`."""
        return f"{self.package or self.framework} {self.version}"
