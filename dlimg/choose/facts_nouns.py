"""The nouns of the facts: what the outside world allows. Every one knows its `origin`.

A text is empty, and a tuple has nothing in it, where nobody has looked or there is nothing to say.
Versions and days are text as in the file; a day may be a month (`2026-06`) or a year. They are
tuples with names, made by keyword: as many dataclasses would cost every command 15 ms to import.
"""

from collections.abc import Mapping
from typing import NamedTuple

from dlimg.model import NOTHING


class Origin(NamedTuple):
    """Where a row is from and how sure it is.

    `where` is its file and line, to correct it. An uncertain row, or a field among the `doubts`,
    may make somebody warn; it never forbids. `sources` and `notes` are those of single fields.
    """

    source: str
    checked: str
    where: str = ""
    certain: bool = True
    doubts: frozenset[str] = frozenset()
    sources: Mapping[str, str] = NOTHING
    notes: Mapping[str, str] = NOTHING
    note: str = ""

    def sure_of(self, *names: str) -> bool:
        """Whether the row, and each of these fields, was confirmed."""
        asked = {one for name in names for one in (name, _group(name))}
        return self.certain and self.doubts.isdisjoint(asked)

    def source_of(self, name: str) -> str:
        """The field's own source or its group's; the row's where it has none."""
        return self.sources.get(name) or self.sources.get(_group(name)) or self.source


def _group(name: str) -> str:
    """The fields `image_state` and `image_os` may have one source and one doubt for both."""
    return name.partition("_")[0]


class Distribution(NamedTuple):
    """A distribution's code name, its own Python and its glibc; the days that its support ends.

    `extended_eol` ends what `extended` names: `LTS` is for everybody, `ESM` for subscribers.
    `libc` is `glibc` or `musl`; only the first has a number, where it is known.
    """

    distribution: str
    codename: str
    python: str
    glibc: str
    origin: Origin
    libc: str = "glibc"
    released: str = ""
    eol: str = ""
    extended: str = ""
    extended_eol: str = ""

    @property
    def source(self) -> str:
        return self.origin.source


class CudaFact(NamedTuple):
    """A CUDA minor: the drivers that run it, the GPUs it compiles for, its nvidia/cuda images.

    `min_driver` is the oldest that runs it within its major (before CUDA 11: at all), `drivers`
    those of its own updates, oldest first: from there on PTX works, too. `sm_max` is empty where
    it is not known. `image_state` is `supported`, `exists`, `ended` (exists, without support),
    `deleted` or empty; `image_seen` the month that says so. The image `image_tag` starts on a
    driver whose CUDA is `image_requires` or newer, and on the branches `image_lets_through`.
    """

    cuda: str
    min_driver: str
    nvcc_wheel: bool
    origin: Origin
    released: str = ""
    drivers: Mapping[str, str] = NOTHING
    sm_min: str = ""
    sm_max: str = ""
    images: tuple[str, ...] = ()
    image_os: tuple[str, ...] = ()
    image_state: str = ""
    image_seen: str = ""
    image_tag: str = ""
    image_requires: str = ""
    image_lets_through: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return self.origin.source

    @property
    def nvcc_source(self) -> str:
        return self.origin.source_of("nvcc_wheel")

    @property
    def native_driver(self) -> str:
        """The driver of its first release: no older one knows this CUDA by itself."""
        return next(iter(self.drivers.values()), "")


class Gpu(NamedTuple):
    """A GPU: its compute capability (`8.9`), architecture, and the CUDA and drivers it works with.

    `kind` is `datacenter`, `workstation`, `consumer`, `jetson`, or empty for a bare `sm_89`.
    `first_cuda` compiles for it; after `last_cuda` and `last_driver` it was dropped (empty: not
    yet); `first_driver` is derived from `first_cuda`. `machine` is empty where it fits any host.
    """

    name: str
    capability: str
    architecture: str
    origin: Origin
    aliases: tuple[str, ...] = ()
    kind: str = ""
    first_cuda: str = ""
    last_cuda: str = ""
    first_driver: str = ""
    last_driver: str = ""
    machine: str = ""
    mig: bool = False

    @property
    def sm(self) -> str:
        return f"sm_{self.capability.replace('.', '')}"


class DriverBranch(NamedTuple):
    """A driver branch (`580`): kind (`LTSB`, `PB`, `NFB`), its last month, the CUDA major it runs.

    Sources may disagree about `eol`: then it is the earlier day, and `eol_latest` the later. A
    branch may have `ended` without a day that is known.
    """

    branch: str
    kind: str
    origin: Origin
    eol: str = ""
    eol_latest: str = ""
    ended: bool = False
    cuda_major: str = ""


class GpuKind(NamedTuple):
    """Whether GPUs of this kind run a newer CUDA than their driver's, by cuda-compat."""

    kind: str
    forward: bool
    origin: Origin


class Tested(NamedTuple):
    """A row of TensorFlow's table of tested builds; whether the plain name is a CUDA build."""

    minor: str
    version: str
    python: str
    cuda: str
    cudnn: str
    origin: Origin
    compiler: str = ""
    plain_is_cuda: bool = False


class CudaMajor(NamedTuple):
    """A CUDA major within which drivers and builds mix: the oldest driver for any minor of it."""

    cuda_major: str
    min_driver: str
    origin: Origin


class CudnnFact(NamedTuple):
    """A cuDNN release: the CUDAs it is for, the oldest compute capability it has code for.

    `and_newer`: what is said holds for every later release, too.
    """

    cudnn: str
    cuda: tuple[str, ...]
    origin: Origin
    sm_min: str = ""
    and_newer: bool = False


class PythonFact(NamedTuple):
    """A Python minor: its days, and the first and newest build that uv manages, if there is any."""

    python: str
    origin: Origin
    released: str = ""
    eol: str = ""
    latest: str = ""
    managed_from: str = ""
    managed: str = ""
    distributions: tuple[str, ...] = ()
    obtain: str = ""


class Legacy(NamedTuple):
    """An environment of an old tutorial or platform, and what of it can still be had.

    `packages` are its framework as requirements of the package index (`tensorflow-gpu==1.0.1`);
    `wheel` and `base_image` begin with yes, no or partly, or say what is left of them.
    """

    name: str
    platform: str
    says: str
    origin: Origin
    packages: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()
    cuda: str = ""
    cudnn: str = ""
    driver: str = ""
    os: str = ""
    wheel: str = ""
    base_image: str = ""
    obtain_python: Mapping[str, str] = NOTHING


class Statement(NamedTuple):
    """A fact in words, under a name that a rule can cite: `cubin-major`, `minor-not-ptx`."""

    name: str
    text: str
    origin: Origin
