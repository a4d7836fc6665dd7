"""A combination of framework, CUDA, Python, GPU, driver and system, as far as it is given."""

from typing import Final, Literal, NamedTuple

from dlimg.document.versions import minor
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI, X86_64, Distribution, FrameworkRelease, GpuFact, ReleaseBuild
from dlimg.model import CUDNN_PACKAGES, Cell, Lock


class Combination(NamedTuple):
    """A framework's release and build, and its surroundings; empty or None is open.

    `package` is the question's word for it (`tensorflow-gpu`), empty for the framework's own.
    `cuda` is a minor, empty for a build without; `cudnn` may be the beginning of a version. A
    `driver` may be a bare branch (`550`): then it is the newest of it. `platform` bounds the
    wheels. `wheels` are locked: they outrank the facts. `compat` says whether a package for
    forward compatibility of the driver can be added to the image.
    """

    framework: str
    version: str
    package: str = ""
    release: FrameworkRelease | None = None
    build: ReleaseBuild | None = None
    cuda: str = ""
    cudnn: str = ""
    python: str = ""
    distribution: Distribution | None = None
    gpu: GpuFact | None = None
    driver: str = ""
    arch: str = X86_64
    platform: str = ""
    flavour: str = ""
    wheels: Lock | None = None
    compat: Literal["possible", "absent"] = "possible"

    @property
    def release_name(self) -> str:
        """`torch 2.6.0`."""
        return f"{self.framework} {self.version}"

    @property
    def name(self) -> str:
        """`tensorflow-gpu 1.15.0`: with the package of the question."""
        return f"{self.package or self.framework} {self.version}"


_CUDA: Final = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu11")


def combination_of(
    cell: Cell, facts: Facts, lock: Lock | None = None, gpu: GpuFact | None = None, driver: str = ""
) -> Combination:
    """Return the cell on this GPU and driver; its lock outranks the facts.

    Its image has no package for forward compatibility of the driver.
    """
    framework = facts.framework_names.get(cell.package, cell.package)
    release = facts.releases.get(framework, {}).get(cell.version)
    cuda = cell.stack.cuda if cell.stack else ""
    if lock and cuda:
        cuda = minor(lock.version_of(*_CUDA)) or cuda
    return Combination(
        framework=framework,
        version=cell.version,
        package=cell.package if cell.package != framework else "",
        release=release,
        build=_build(release, cuda),
        cuda=cuda,
        cudnn=lock.version_of(*CUDNN_PACKAGES) if lock else cell.stack.cudnn if cell.stack else "",
        python=lock.python if lock else cell.python,
        distribution=facts.distributions.get(cell.os.distribution),
        gpu=gpu,
        driver=driver,
        arch=cell.platform.partition("-")[0],
        platform=cell.platform,
        flavour=cell.flavour.value,
        wheels=lock,
        compat="absent",
    )


def _build(release: FrameworkRelease | None, cuda: str) -> ReleaseBuild | None:
    """Return the release's build for this CUDA from the package index, or None.

    For an empty `cuda`, a build from any index will do: `+cpu` in its version identifies it.
    """
    builds = release.builds_for(cuda) if release else ()
    return next((build for build in builds if build.index == PYPI or not cuda), None)
