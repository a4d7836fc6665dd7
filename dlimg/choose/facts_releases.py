"""Checked rows of frameworks -> releases with their builds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dlimg.choose.facts_made import Made, Row, origin
from dlimg.choose.facts_nouns import Origin
from dlimg.choose.releases import AARCH64, PYPI, VENDOR, X86_64, Build, Floor, Release

# Arch flags name no PTX; whoever looked at the fatbinaries, too, would have seen it.
_BLIND: Final = "ArchFlags"
_SEEING: Final = "fatbinar"


def releases(
    framework: str, rows: Sequence[Row], variants: Sequence[Row], source: str
) -> Mapping[str, Release]:
    """By version; `variants` are what is known of the vendor's own index."""
    measured = {
        (version, row["variant"]): (row, origin(row, source))
        for row in variants
        for version in row["versions"]
    }
    known = {row["version"]: row for row in rows}
    return Made(known, lambda row: _release(framework, row, measured, source))


def floors(framework: str, rows: Sequence[Row], source: str) -> tuple[Floor, ...]:
    return tuple(
        Floor(
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
) -> Release:
    here = origin(row, source)
    package = row.get("package", framework)
    companions = {name: tuple(found) for name, found in row.get("companions", {}).items()}
    builds = (
        *_indexed(framework, package, row, here),
        *_elsewhere(package, row, measured, here),
    )
    return Release(
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


def _indexed(framework: str, package: str, row: Row, here: Origin) -> Iterator[Build]:
    """The package index's own builds, x86_64 first."""
    for machine, prefix in ((X86_64, ""), (AARCH64, "aarch64_")):
        held = row.get(f"{prefix}architectures", {})
        for cuda in row.get(f"{prefix}cuda", ()):
            extra = _extra(framework, row, cuda)
            yield Build(
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


def _without(package: str, row: Row, here: Origin, machine: str) -> Build:
    return Build(
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
) -> Iterator[Build]:
    """The builds of the vendor's own index, of which often only the name is known."""
    for variant in row.get("variants", ()):
        known: Any = measured.get((row["version"], variant))
        number = variant.removeprefix("cu")
        yield Build(
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
