"""Checked rows -> nouns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from dlimg.facts.model import (
    AARCH64,
    PYPI,
    VENDOR,
    X86_64,
    CodeFloor,
    CudaFact,
    CudaMajor,
    CudnnFact,
    Distribution,
    DriverBranch,
    FrameworkRelease,
    GpuFact,
    GpuKind,
    LegacyEnvironment,
    Origin,
    PythonFact,
    ReleaseBuild,
    Statement,
    TestedBuild,
)

Row = Mapping[str, Any]
T = TypeVar("T")


class LazyTable(Mapping[str, T]):
    """Nouns by name; each is made when it is first asked for, because most never are."""

    __slots__ = ("_done", "_make", "_rows")

    def __init__(self, rows: Mapping[str, Row], make: Callable[[Row], T]) -> None:
        self._rows = rows
        self._make = make
        self._done: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._done:
            self._done[name] = self._make(self._rows[name])
        return self._done[name]

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def origin(row: Row, source: str) -> Origin:
    """Where this row is from, and what of it was not confirmed."""
    doubts = {
        key.removesuffix("_verified")
        for key, value in row.items()
        if key.endswith("_verified") and not value
    }
    return Origin(
        source=row["source"],
        checked=row["checked"],
        where=f"{source}:{row['line']}",
        certain=row.get("verified", True),
        doubts=frozenset(doubts),
        sources=_ending(row, "_source"),
        notes=_ending(row, "_note"),
        note=row.get("note", ""),
    )


def _ending(row: Row, end: str) -> Mapping[str, str]:
    return {key.removesuffix(end): value for key, value in row.items() if key.endswith(end)}


def _texts(row: Row, *names: str) -> dict[str, Any]:
    """These fields of a row, where they are there; lists as tuples."""
    return {
        name: tuple(row[name]) if isinstance(row[name], list) else row[name]
        for name in names
        if name in row
    }


def cuda_fact(row: Row, source: str) -> CudaFact:
    plain = ("cuda", "min_driver", "released", "drivers", "sm_min", "sm_max", "images", "image_os")
    image = ("image_state", "image_seen", "image_tag", "image_requires", "image_lets_through")
    return CudaFact(
        **_texts(row, *plain, *image),
        nvcc_wheel=row.get("nvcc_wheel", False),
        origin=origin(row, source),
    )


def cuda_major(row: Row, source: str) -> CudaMajor:
    return CudaMajor(**_texts(row, "cuda_major", "min_driver"), origin=origin(row, source))


def cudnn_fact(row: Row, source: str) -> CudnnFact:
    fields = ("cudnn", "cuda", "sm_min", "and_newer")
    return CudnnFact(**_texts(row, *fields), origin=origin(row, source))


def driver_branch(row: Row, source: str) -> DriverBranch:
    fields = ("branch", "kind", "eol", "eol_latest", "ended", "cuda_major")
    return DriverBranch(**_texts(row, *fields), origin=origin(row, source))


def gpu_kind(row: Row, source: str) -> GpuKind:
    return GpuKind(kind=row["kind"], forward=row["forward"], origin=origin(row, source))


def tested(row: Row, source: str) -> TestedBuild:
    fields = ("minor", "version", "python", "cuda", "cudnn", "compiler", "plain_is_cuda")
    return TestedBuild(**_texts(row, *fields), origin=origin(row, source))


def gpu(row: Row, source: str) -> GpuFact:
    plain = ("aliases", "capability", "architecture", "kind", "machine", "mig")
    limits = ("first_cuda", "last_cuda", "first_driver", "last_driver")
    return GpuFact(name=row["gpu"], **_texts(row, *plain, *limits), origin=origin(row, source))


def python_fact(row: Row, source: str) -> PythonFact:
    days = ("python", "released", "eol", "latest")
    had = ("managed_from", "managed", "distributions", "obtain")
    return PythonFact(**_texts(row, *days, *had), origin=origin(row, source))


def distribution(row: Row, source: str) -> Distribution:
    days = ("released", "eol", "extended", "extended_eol")
    fields = _texts(row, "distribution", "codename", "python", "libc", "glibc", *days)
    return Distribution(
        **{"codename": "", "python": "", "glibc": "", **fields}, origin=origin(row, source)
    )


def legacy(row: Row, source: str) -> LegacyEnvironment:
    said = ("platform", "says", "packages", "pythons", "cuda", "cudnn", "driver", "os")
    had = ("wheel", "base_image", "obtain_python")
    return LegacyEnvironment(
        name=row["environment"], **_texts(row, *said, *had), origin=origin(row, source)
    )


def statement(row: Row, source: str) -> Statement:
    return Statement(name=row["name"], text=row["says"], origin=origin(row, source))


def bare_gpu(one: GpuFact) -> GpuFact:
    """What this GPU shares with all others of its compute capability, under the name `sm_89`."""
    return one._replace(name=one.sm, aliases=(), kind="", machine="", mig=False)


# Arch flags name no PTX; whoever looked at the fatbinaries, too, would have seen it.
_BLIND: Final = "ArchFlags"
_SEEING: Final = "fatbinar"


def releases(
    framework: str, rows: Sequence[Row], variants: Sequence[Row], source: str
) -> Mapping[str, FrameworkRelease]:
    """By version; `variants` are what is known of the vendor's own index."""
    measured = {
        (version, row["variant"]): (row, origin(row, source))
        for row in variants
        for version in row["versions"]
    }
    known = {row["version"]: row for row in rows}
    return LazyTable(known, lambda row: _release(framework, row, measured, source))


def floors(framework: str, rows: Sequence[Row], source: str) -> tuple[CodeFloor, ...]:
    return tuple(
        CodeFloor(
            framework=framework,
            capability_from=row["capability_from"],
            min_version=row["min_version"],
            min_cuda=row["min_cuda"],
            origin=origin(row, source),
        )
        for row in rows
    )


def _release(
    framework: str,
    row: Row,
    measured: Mapping[tuple[str, str], tuple[Row, Origin]],
    source: str,
) -> FrameworkRelease:
    here = origin(row, source)
    package = row.get("package", framework)
    companions = {name: tuple(found) for name, found in row.get("companions", {}).items()}
    builds = (
        *_indexed(framework, package, row, here),
        *_elsewhere(package, row, measured, here),
    )
    return FrameworkRelease(
        framework=framework,
        version=row["version"],
        released=row.get("released", ""),
        yanked=row.get("yanked", False),
        pythons=tuple(row["pythons"]),
        free_threaded=tuple(row.get("free_threaded", ())),
        requires_python=row.get("requires_python", ""),
        platform=row.get("platform", ""),
        cuda=tuple(row["cuda"]),
        companions=companions,
        companion_notes={name: row.get(f"{name}_note", "") for name in companions},
        architectures={n: tuple(found) for n, found in row.get("architectures", {}).items()},
        cpu_package=row.get("cpu_package", ""),
        builds=builds,
        origin=here,
    )


def _indexed(framework: str, package: str, row: Row, here: Origin) -> Iterator[ReleaseBuild]:
    """The package index's own builds, x86_64 first."""
    for machine, prefix in ((X86_64, ""), (AARCH64, "aarch64_")):
        held = row.get(f"{prefix}architectures", {})
        for cuda in row.get(f"{prefix}cuda", ()):
            extra = _extra(framework, row, cuda)
            yield ReleaseBuild(
                index=PYPI,
                machine=machine,
                cuda=cuda,
                variant=extra or f"cu{cuda.replace('.', '')}",
                package=f"{package}[{extra}]" if extra else package,
                pythons=tuple(row["pythons"]),
                built_for=row.get("built_for_cuda", ""),
                pins=row.get("pins", {}).get(cuda, {}),
                architectures=tuple(held.get(cuda, ())),
                ptx_known=_saw_ptx(here.source_of(f"{prefix}architectures")),
                architectures_origin=_of(here, f"{prefix}architectures"),
                origin=_of(here, f"{prefix}cuda"),
            )
    if row.get("cpu_package"):
        yield _without(row["cpu_package"], row, here, X86_64)
    if "aarch64_cuda" in row and not row["aarch64_cuda"]:
        yield _without(package, row, here, AARCH64)


def _saw_ptx(way: str) -> bool:
    return _BLIND not in way or _SEEING in way


def _extra(framework: str, row: Row, cuda: str) -> str:
    """The extra that brings the CUDA libraries; none where the wheel asks for them itself."""
    if framework == "jax":
        return f"cuda{cuda}"
    return "and-cuda" if framework == "tensorflow" and cuda in row.get("pins", {}) else ""


def _without(package: str, row: Row, here: Origin, machine: str) -> ReleaseBuild:
    return ReleaseBuild(
        index=PYPI,
        machine=machine,
        cuda="",
        variant="cpu",
        package=package,
        pythons=tuple(row["pythons"]),
        architectures_origin=here,
        origin=_of(here, "aarch64_cuda") if machine == AARCH64 else here,
    )


def _elsewhere(
    package: str,
    row: Row,
    measured: Mapping[tuple[str, str], tuple[Row, Origin]],
    here: Origin,
) -> Iterator[ReleaseBuild]:
    """The builds of the vendor's own index, of which often only the name is known."""
    for variant in row.get("variants", ()):
        known: Any = measured.get((row["version"], variant))
        number = variant.removeprefix("cu")
        yield ReleaseBuild(
            index=VENDOR,
            machine=X86_64,
            cuda=f"{number[:-1]}.{number[-1]}" if number.isdigit() else "",
            variant=variant,
            package=package,
            pythons=tuple(row["pythons"]),
            pins=known[0].get("pins", {}) if known else {},
            architectures=tuple(known[0]["architectures"]) if known else (),
            ptx_known=bool(known and known[0].get("ptx_known", False)),
            architectures_origin=_of(known[1], "architectures") if known else here,
            origin=_of(here, "variants"),
        )


def _of(here: Origin, field: str) -> Origin:
    """The origin of a row, narrowed to one field."""
    source = here.source_of(field)
    return here._replace(source=source, certain=here.sure_of(field))
