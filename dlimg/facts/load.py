"""All facts by name, made from checked rows."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from difflib import SequenceMatcher
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

from dlimg.errors import BadInput
from dlimg.facts.gpus import capability_in, name_key, names_nvidia, short_name_key
from dlimg.facts.model import (
    AARCH64,
    DERIVED,
    KEY,
    PYPI,
    SECTIONS,
    VENDOR,
    X86_64,
    CodeFloor,
    CudaFact,
    CudaMajor,
    CudnnFact,
    DependencyBound,
    Distribution,
    ForwardCompatibility,
    FrameworkFact,
    FrameworkPackage,
    FrameworkRelease,
    GpuFact,
    LegacyEnvironment,
    Origin,
    OtherAccelerator,
    PythonFact,
    ReleaseBuild,
    Statement,
    TestedBuild,
    UnavailablePackage,
    VariantArchitectures,
)

Row = Mapping[str, Any]
Rows = Mapping[str, Any]
T = TypeVar("T")
ONLY_NVIDIA: Final = "dlimg builds for NVIDIA GPUs and for the CPU only"
_ALIKE: Final = 0.6
_NO_GPU: Final = frozenset(("cpu", "no", "none"))
_NO_SUCH_GPU: Final = "`dlimg facts gpus` lists NVIDIA's; or name an architecture, e.g. sm_89"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All facts, by name.

    `framework_names` has the frameworks by all their names and packages. `releases`, `floors`,
    `bounds` and `tested` are by framework first; `tested` then by minor. `packages` is by package,
    `unavailable` by package and version, `gpu_names` by every plain name and `sm_89`, `majors` by
    CUDA major. `managed` is the newest build that uv has of a Python minor.
    """

    frameworks: Mapping[str, FrameworkFact]
    framework_names: Mapping[str, str]
    packages: Mapping[str, FrameworkPackage]
    releases: Mapping[str, Mapping[str, FrameworkRelease]]
    tested: Mapping[str, Mapping[str, TestedBuild]]
    floors: Mapping[str, tuple[CodeFloor, ...]]
    unavailable: Mapping[tuple[str, str], UnavailablePackage]
    bounds: Mapping[str, tuple[DependencyBound, ...]]
    distributions: Mapping[str, Distribution]
    pythons: Mapping[str, PythonFact]
    managed: Mapping[str, str]
    managed_source: str
    cuda: Mapping[str, CudaFact]
    majors: Mapping[str, CudaMajor]
    cudnn: Mapping[str, CudnnFact]
    forward: Mapping[str, ForwardCompatibility]
    gpus: Mapping[str, GpuFact]
    gpu_names: Mapping[str, GpuFact]
    accelerators: Mapping[str, OtherAccelerator]
    legacy: Mapping[str, LegacyEnvironment]
    statements: Mapping[str, Statement]

    def gpu(self, name: str) -> GpuFact:
        """Return the GPU of this name in any spelling, or the common part of all `sm_89`.

        Raises BadInput with the nearest spelling.
        """
        short = short_name_key(name)
        keys = (capability_in(name), name_key(name), short, f"rtx{short}", f"gtx{short}")
        gpu = next((self.gpu_names[key] for key in keys if key in self.gpu_names), None)
        if gpu is None or (names_nvidia(gpu.name) > names_nvidia(name) and self._other(name)):
            raise self._no_gpu(name)
        return gpu

    def _no_gpu(self, name: str) -> BadInput:
        """Return the error for a name that is not of an NVIDIA GPU."""
        other = self._other(name)
        if other is not None:
            article = "an" if other.maker[0] in "AEIOUi" else "a"
            message = f"{name} is {article} {other.maker} {other.kind}"
            hint = f"name an NVIDIA GPU, or none; or take {other.instead}"
            return BadInput(f"{message}: {ONLY_NVIDIA}", hint=hint)
        if name.strip().lower() in _NO_GPU:
            hint = "leave it out, or ask with `--cuda cpu`"
            return BadInput(f"{name!r} is no GPU", hint=hint)
        hint = _nearest_gpu(name, [*self.gpus, *filter(capability_in, self.gpu_names)])
        return BadInput(f"no facts about a GPU {name!r}", hint=hint)

    def _other(self, name: str) -> OtherAccelerator | None:
        """Return the accelerator of another maker that has this name."""
        if names_nvidia(name):
            return None
        # Chinese names are no part of a key, which is of a chip's letters and digits.
        keys = (name_key(name), short_name_key(name), "".join(name.split()))
        return next(
            (
                other
                for other in self.accelerators.values()
                for pattern in other.names
                if any(re.fullmatch(pattern, key) for key in keys if key)
            ),
            None,
        )


def _nearest_gpu(name: str, names: Collection[str]) -> str:
    """Return a hint with the nearest name: of two, the one with digits at the same places."""
    shape = re.sub(r"[0-9]", "0", name)
    likeness, _, near = max(
        (SequenceMatcher(None, name, other).ratio(), re.sub(r"[0-9]", "0", other) == shape, other)
        for other in names
    )
    return f"did you mean {near!r}?" if likeness >= _ALIKE else _NO_SUCH_GPU


def facts_of(files: Mapping[str, Rows]) -> Facts:
    """Return the facts in these checked rows by file name."""
    frameworks = {
        framework.name: _FrameworkFile(framework, name, rows)
        for name, rows in files.items()
        if "framework" in rows
        for framework in [from_row(FrameworkFact, rows["framework"], name)]
    }
    packages = {
        package.package: package for file in frameworks.values() for package in file.packages()
    }
    gpus = _section(files, "gpus", GpuFact)
    pythons = _section(files, "pythons", PythonFact)
    managed = [python for python in pythons.values() if python.managed]
    return Facts(
        frameworks={name: file.framework for name, file in frameworks.items()},
        framework_names={
            name: file.framework.name for file in frameworks.values() for name in file.names()
        },
        packages=packages,
        releases={name: file.releases() for name, file in frameworks.items()},
        tested={name: file.tested() for name, file in frameworks.items()},
        floors={name: file.floors() for name, file in frameworks.items()},
        unavailable={
            (row.package, row.version): row
            for file in frameworks.values()
            for row in file.unavailable()
        },
        bounds={name: file.bounds() for name, file in frameworks.items()},
        distributions=_section(files, "distributions", Distribution),
        pythons=pythons,
        managed={python.python: python.managed for python in managed},
        managed_source=managed[0].origin.source_of("managed") if managed else "",
        cuda=_section(files, "cuda", CudaFact),
        majors=_section(files, "majors", CudaMajor),
        cudnn=_section(files, "cudnn", CudnnFact),
        forward=_section(files, "forward", ForwardCompatibility),
        gpus=gpus,
        gpu_names=_gpu_names(gpus.values()),
        accelerators=_section(files, "accelerators", OtherAccelerator),
        legacy=_section(files, "environments", LegacyEnvironment),
        statements=_section(files, "statements", Statement),
    )


def _section(files: Mapping[str, Rows], section: str, row: type[T]) -> Mapping[str, T]:
    """Return a section's rows of all files by their key."""
    key = SECTIONS[section].key[0]
    return {
        data[key]: from_row(row, data, name)
        for name, rows in files.items()
        for data in rows.get(section, ())
    }


def from_row(row: type[T], data: Row, file: str, **derived: str) -> T:
    """Return an object of the row's class from a checked row."""
    make: Callable[..., T] = row
    values = {name: _frozen(data[key]) for name, key in _keys(make) if key in data}
    return make(**values, origin=origin_of(data, file), **derived)


@cache
def _keys(row: Any) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 - a dataclass
    """Return the names of a class's fields with their keys in the YAML."""
    return tuple(
        (field.name, field.metadata.get(KEY, field.name))
        for field in fields(row)
        if field.name != "origin" and not field.metadata.get(DERIVED)
    )


def _frozen(value: Any) -> Any:  # noqa: ANN401 - plain data
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return {name: _frozen(inner) for name, inner in value.items()}
    return value


def origin_of(data: Row, file: str) -> Origin:
    """Return where a row is from, and which of its fields were not confirmed."""
    doubts, sources, notes = [], {}, {}
    for key, value in data.items():
        name, _, suffix = key.rpartition("_")
        if not name:
            continue
        if suffix == "verified" and not value:
            doubts.append(name)
        elif suffix == "source":
            sources[name] = value
        elif suffix == "note":
            notes[name] = value
    return Origin(
        source=data["source"],
        checked=data["checked"],
        where=f"{file}:{data['line']}",
        certain=data.get("verified", True),
        doubts=frozenset(doubts),
        sources=sources,
        notes=notes,
        note=data.get("note", ""),
    )


def _gpu_names(gpus: Collection[GpuFact]) -> Mapping[str, GpuFact]:
    names: dict[str, GpuFact] = {}
    for gpu in gpus:
        for name in (gpu.name, *gpu.aliases):
            names.setdefault(name_key(name), gpu)
    for gpu in gpus:
        names.setdefault(short_name_key(gpu.name), gpu)
    # Of a compute capability's rows a certain one stands for all; of several the last.
    for gpu in sorted(gpus, key=lambda gpu: gpu.origin.certain):
        names[gpu.sm] = replace(gpu, name=gpu.sm, aliases=(), kind="", arch="")
    return names


class _FrameworkFile(NamedTuple):
    """The rows of a framework's file."""

    framework: FrameworkFact
    file: str
    rows: Rows

    def _section(self, section: str, row: type[T], **derived: str) -> Iterator[T]:
        rows = self.rows.get(section, ())
        return (from_row(row, data, self.file, **derived) for data in rows)

    def packages(self) -> Iterator[FrameworkPackage]:
        return self._section("packages", FrameworkPackage, framework=self.framework.name)

    def names(self) -> tuple[str, ...]:
        """Return the framework's names and packages."""
        packages = (package.package for package in self.packages())
        return (self.framework.name, *self.framework.aliases, *packages)

    def tested(self) -> Mapping[str, TestedBuild]:
        return {build.minor: build for build in self._section("tested", TestedBuild)}

    def unavailable(self) -> Iterator[UnavailablePackage]:
        return self._section("unavailable", UnavailablePackage)

    def floors(self) -> tuple[CodeFloor, ...]:
        return tuple(self._section("floors", CodeFloor))

    def bounds(self) -> tuple[DependencyBound, ...]:
        return tuple(self._section("bounds", DependencyBound))

    def releases(self) -> Mapping[str, FrameworkRelease]:
        """Return the releases by version, with their builds."""
        variants: dict[tuple[str, str, str], VariantArchitectures] = {
            (version, variant.variant, variant.arch or X86_64): variant
            for variant in self._section("variants", VariantArchitectures)
            for version in variant.versions
        }
        releases = {}
        name = self.framework.name
        for release in self._section("releases", FrameworkRelease, framework=name):
            builds = (
                *_index_builds(self.framework, release),
                *_vendor_builds(self.framework, release, variants),
            )
            releases[release.version] = replace(release, builds=builds)
        return releases


def _index_builds(framework: FrameworkFact, release: FrameworkRelease) -> Iterator[ReleaseBuild]:
    """Yield the package index's own builds, x86_64 first."""
    package, origin = release.package or framework.name, release.origin
    arm, arm_code = release.aarch64_cuda, release.aarch64_architectures
    for arch, prefix, cudas, code, ptx_known in (
        (X86_64, "", release.cuda, release.architectures, release.ptx_known),
        (AARCH64, "aarch64_", arm or (), arm_code, release.aarch64_ptx_known),
    ):
        for cuda in cudas:
            pins = release.pins.get(cuda, {})
            extra = framework.extra.format(cuda=cuda) if pins else ""
            yield ReleaseBuild(
                index=PYPI,
                arch=arch,
                cuda=cuda,
                variant=extra or f"cu{cuda.replace('.', '')}",
                package=f"{package}[{extra}]" if extra else package,
                pythons=release.pythons,
                built_for=release.built_for_cuda,
                pins=pins,
                uses_system_cuda=not pins and framework.unpinned_cuda == "system",
                architectures=code.get(cuda, ()),
                ptx_known=ptx_known,
                architectures_origin=origin.of(f"{prefix}architectures"),
                origin=origin.of(f"{prefix}cuda"),
            )
    if release.cpu_package:
        yield _cpu_build(release.cpu_package, release, X86_64, origin)
    if arm == ():
        yield _cpu_build(package, release, AARCH64, origin.of("aarch64_cuda"))


def _cpu_build(package: str, release: FrameworkRelease, arch: str, origin: Origin) -> ReleaseBuild:
    return ReleaseBuild(
        index=PYPI,
        arch=arch,
        cuda="",
        variant="cpu",
        package=package,
        pythons=release.pythons,
        architectures_origin=release.origin,
        origin=origin,
    )


def _vendor_builds(
    framework: FrameworkFact,
    release: FrameworkRelease,
    variants: Mapping[tuple[str, str, str], VariantArchitectures],
) -> Iterator[ReleaseBuild]:
    """Yield the builds of the vendor's own index, of which often only the name is known."""
    for arch, variant in (
        *((X86_64, variant) for variant in release.variants),
        *((AARCH64, variant) for variant in release.aarch64_variants),
    ):
        code = variants.get((release.version, variant, arch))
        field = "variants" if arch == X86_64 else "aarch64_variants"
        number = variant.removeprefix("cu")
        cuda = f"{number[:-1]}.{number[-1]}" if number.isdigit() else ""
        pins = code.pins if code else {}
        yield ReleaseBuild(
            index=VENDOR,
            arch=arch,
            cuda=cuda,
            variant=variant,
            package=release.package or framework.name,
            pythons=release.pythons,
            pins=pins,
            uses_system_cuda=bool(cuda) and not pins and framework.unpinned_cuda == "system",
            architectures=code.architectures if code else (),
            ptx_known=bool(code and code.ptx_known),
            architectures_origin=code.origin.of("architectures") if code else release.origin,
            origin=release.origin.of(field),
        )
