"""Checked rows -> nouns."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from dlimg.choose.facts_nouns import (
    CudaFact,
    CudaMajor,
    CudnnFact,
    Distribution,
    DriverBranch,
    Gpu,
    GpuKind,
    Legacy,
    Origin,
    PythonFact,
    Statement,
    Tested,
)

Row = Mapping[str, Any]
T = TypeVar("T")


class Made(Mapping[str, T]):
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


def tested(row: Row, source: str) -> Tested:
    fields = ("minor", "version", "python", "cuda", "cudnn", "compiler", "plain_is_cuda")
    return Tested(**_texts(row, *fields), origin=origin(row, source))


def gpu(row: Row, source: str) -> Gpu:
    plain = ("aliases", "capability", "architecture", "kind", "machine", "mig")
    limits = ("first_cuda", "last_cuda", "first_driver", "last_driver")
    return Gpu(name=row["gpu"], **_texts(row, *plain, *limits), origin=origin(row, source))


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


def legacy(row: Row, source: str) -> Legacy:
    said = ("platform", "says", "packages", "pythons", "cuda", "cudnn", "driver", "os")
    had = ("wheel", "base_image", "obtain_python")
    return Legacy(name=row["environment"], **_texts(row, *said, *had), origin=origin(row, source))


def statement(row: Row, source: str) -> Statement:
    return Statement(name=row["name"], text=row["says"], origin=origin(row, source))


def bare_gpu(one: Gpu) -> Gpu:
    """What this GPU shares with all others of its compute capability, under the name `sm_89`."""
    return one._replace(name=one.sm, aliases=(), kind="", machine="", mig=False)
