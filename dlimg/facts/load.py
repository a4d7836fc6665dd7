"""Facts text -> Facts: what the outside world allows, each row with its source."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from dlimg.errors import BadInput, Problem, nearest
from dlimg.facts import rows as made
from dlimg.facts.model import (
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
    PythonFact,
    Statement,
    TestedBuild,
    major,
)
from dlimg.facts.parse import Rows
from dlimg.facts.rows import floors, releases

__all__ = ["CudaFact", "Distribution", "Facts", "FrameworkRelease", "facts_of", "parse_facts"]
T = TypeVar("T")
_NO_SUCH_GPU: Final = "`dlimg facts gpus` lists NVIDIA's; or name an architecture, e.g. sm_89"
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


class Facts(NamedTuple):
    """All facts that were read, by name; of subjects that were not asked for there is nothing.

    `releases` by framework and version, `managed` by Python minor, `gpus` by their own name,
    `gpu_names` by every plain name and `sm_89`, `majors` by CUDA major, `drivers` by branch,
    `tested` by TensorFlow's minor.
    """

    releases: Mapping[str, Mapping[str, FrameworkRelease]]
    distributions: Mapping[str, Distribution]
    managed: Mapping[str, str]
    managed_source: str
    cuda: Mapping[str, CudaFact]
    floors: Mapping[str, tuple[CodeFloor, ...]] = _NONE
    majors: Mapping[str, CudaMajor] = _NONE
    cudnn: Mapping[str, CudnnFact] = _NONE
    drivers: Mapping[str, DriverBranch] = _NONE
    gpu_kinds: Mapping[str, GpuKind] = _NONE
    gpus: Mapping[str, GpuFact] = _NONE
    gpu_names: Mapping[str, GpuFact] = _NONE
    pythons: Mapping[str, PythonFact] = _NONE
    legacy: Mapping[str, LegacyEnvironment] = _NONE
    tested: Mapping[str, TestedBuild] = _NONE
    statements: Mapping[str, Statement] = _NONE

    def gpu(self, name: str) -> GpuFact:
        """The GPU of this name, however it is written, or what all of an `sm_89` share.

        Raises BadInput with the nearest spelling.
        """
        from dlimg.facts.gpu_names import (  # noqa: PLC0415 - loaded only when needed
            capability_named,
            plain,
            plainer,
        )

        names = self.gpu_names
        found = names.get(capability_named(name)) or names.get(plain(name))
        bare = plainer(name)
        found = found or next(
            (names[one] for one in (bare, f"rtx{bare}", f"gtx{bare}") if one in names), None
        )
        if found is None:
            known = [*self.gpus, *(one for one in names if one.startswith("sm_"))]
            hint = nearest(name, known)
            hint = hint if hint.startswith("did") else _NO_SUCH_GPU
            raise BadInput(f"no facts about a GPU {name!r}", hint=hint)
        return found

    def release(self, framework: str, version: str) -> FrameworkRelease:
        """The release of this version. Raises BadInput with the nearest spelling."""
        known = self.releases.get(framework, {})
        if version not in known:
            message = f"no facts about {framework} {version}"
            raise BadInput(message, hint=nearest(version, known))
        return known[version]

    def driver_branch(self, driver: str) -> DriverBranch | None:
        """The branch of a driver such as `550.54.15`, where it has a row."""
        return self.drivers.get(major(driver))

    def cudnn_for(self, version: str) -> CudnnFact | None:
        """What is said of just this cuDNN, or of it and newer ones."""
        if version in self.cudnn:
            return self.cudnn[version]
        older = [
            one
            for one in self.cudnn.values()
            if one.and_newer and numbers(one.cudnn) <= numbers(version)
        ]
        return max(older, key=lambda one: numbers(one.cudnn), default=None)


def numbers(version: str) -> tuple[int, ...]:
    """A dotted version of digits, to compare: `550.54.15`, `13.2`."""
    return tuple(int(part) for part in version.split("."))


def parse_facts(texts: Mapping[str, str]) -> Facts:
    """The facts in these YAML texts, by file name.

    Raises BadInput where a row lacks a field, its source or the day it was checked.
    """
    from dlimg.facts.parse import rows_of  # noqa: PLC0415 - seldom: the rows are kept as JSON

    problems: list[Problem] = []
    found: dict[str, Rows] = {}
    for name, text in texts.items():
        try:
            found[name] = rows_of(text, name)
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput.of(problems)
    return facts_of(found)


def facts_of(files: Mapping[str, Rows]) -> Facts:
    """The facts in these checked rows, by file name."""
    frameworks = {
        rows["framework"]: releases(
            rows["framework"], rows.get("releases", ()), rows.get("variants", ()), name
        )
        for name, rows in files.items()
        if "framework" in rows
    }
    limits = {
        rows["framework"]: floors(rows["framework"], rows["floors"], name)
        for name, rows in files.items()
        if "floors" in rows
    }
    gpus = _by_name(files, "gpus", "gpu", made.gpu)
    pythons = [row for rows in files.values() for row in rows.get("pythons", ())]
    managed = {row["python"]: row["managed"] for row in pythons if "managed" in row}
    sources = [row.get("managed_source", row["source"]) for row in pythons if "managed" in row]
    return Facts(
        releases=frameworks,
        distributions=_by_name(files, "distributions", "distribution", made.distribution),
        managed=managed,
        managed_source=sources[0] if sources else "",
        cuda=_by_name(files, "cuda", "cuda", made.cuda_fact),
        floors=limits,
        majors=_by_name(files, "majors", "cuda_major", made.cuda_major),
        cudnn=_by_name(files, "cudnn", "cudnn", made.cudnn_fact),
        drivers=_by_name(files, "drivers", "branch", made.driver_branch),
        gpu_kinds=_by_name(files, "forward", "kind", made.gpu_kind),
        gpus=gpus,
        gpu_names=_gpu_names(files, gpus),
        pythons=_by_name(files, "pythons", "python", made.python_fact),
        legacy=_by_name(files, "environments", "environment", made.legacy),
        tested=_by_name(files, "tested", "minor", made.tested),
        statements=_by_name(files, "statements", "name", made.statement),
    )


Make = Callable[[Mapping[str, Any], str], T]


def _by_name(files: Mapping[str, Rows], section: str, key: str, make: Make[T]) -> Mapping[str, T]:
    rows = [(row, name) for name, found in files.items() for row in found.get(section, ())]
    source = {row[key]: name for row, name in rows}
    return made.LazyTable(
        {row[key]: row for row, _ in rows}, lambda row: make(row, source[row[key]])
    )


def _gpu_names(files: Mapping[str, Rows], gpus: Mapping[str, GpuFact]) -> Mapping[str, GpuFact]:
    rows = [row for found in files.values() for row in found.get("gpus", ())]
    if not rows:
        return _NONE
    from dlimg.facts.gpu_names import plain  # noqa: PLC0415 - as above

    named: dict[str, made.Row] = {}
    for row in rows:
        for name in (row["gpu"], *row.get("aliases", ())):
            named.setdefault(plain(name), row)
    # The surest row of a compute capability speaks for all of it.
    surest = sorted(rows, key=lambda row: not row.get("verified", True), reverse=True)
    bare = {f"sm_{row['capability'].replace('.', '')}": {**row, "bare": True} for row in surest}

    def make(row: made.Row) -> GpuFact:
        return made.bare_gpu(gpus[row["gpu"]]) if "bare" in row else gpus[row["gpu"]]

    return made.LazyTable({**named, **bare}, make)


SUBJECTS: Final = (
    "cuda",
    "cudnn",
    "drivers",
    "gpus",
    "torch",
    "tensorflow",
    "jax",
    "pythons",
    "distributions",
    "legacy",
)
