"""A cell of the matrix -> the combination that the rules judge."""

from typing import Final

from dlimg.choose.asked import FRAMEWORKS
from dlimg.choose.combination import Combination
from dlimg.choose.facts import Facts
from dlimg.choose.facts_nouns import Gpu
from dlimg.choose.numbered import minor
from dlimg.choose.releases import PYPI, Build, Release
from dlimg.model import Cell, Lock

_CUDA: Final = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu11")
_CUDNN: Final = ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "nvidia-cudnn-cu11")


def combination_of(
    cell: Cell, facts: Facts, lock: Lock | None = None, gpu: Gpu | None = None, driver: str = ""
) -> Combination:
    """The cell on this GPU and driver; what its lock says outranks the facts.

    Its image has no package for forward compatibility of the driver.
    """
    framework = FRAMEWORKS.get(cell.package, cell.package)
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
        cudnn=lock.version_of(*_CUDNN) if lock else cell.stack.cudnn if cell.stack else "",
        python=lock.python if lock else cell.python,
        distribution=facts.distributions.get(cell.os.distribution),
        gpu=gpu,
        driver=driver,
        machine=cell.platform.partition("-")[0],
        platform=cell.platform,
        flavour=cell.flavour.value,
        wheels=lock,
        compat="absent",
    )


def _build(release: Release | None, cuda: str) -> Build | None:
    """The package index's build for this CUDA: the one that is installed.

    A build without CUDA may be from anywhere: its version says `+cpu`.
    """
    found = release.builds_for(cuda) if release else ()
    return next((one for one in found if one.index == PYPI or not cuda), None)
