"""Facts text -> Facts: what the outside world allows, each row with its source."""

from collections.abc import Mapping
from dataclasses import dataclass

from dlimg.choose.form import Form
from dlimg.choose.yamltext import Node, parse_yaml
from dlimg.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One framework release: Pythons and CUDA versions that its wheels exist for.

    `cuda` holds minors (`13.2`) or majors (`12`: any minor of it); `companions` the versions
    that pair with it, `companion_notes` why there is none. `architectures` has, for what `cuda`
    holds, the GPUs that the wheels have code for, where somebody has looked.
    """

    version: str
    pythons: tuple[str, ...]
    cuda: tuple[str, ...]
    companions: Mapping[str, tuple[str, ...]]
    companion_notes: Mapping[str, str]
    architectures: Mapping[str, tuple[str, ...]]
    source: str

    def has_cuda(self, cuda: str) -> bool:
        return cuda in self.cuda or _major(cuda) in self.cuda

    def architectures_for(self, cuda: str) -> tuple[str, ...]:
        """Those of the wheels for this CUDA; none where nobody has looked."""
        return self.architectures.get(cuda) or self.architectures.get(_major(cuda), ())


def _major(cuda: str) -> str:
    return cuda.split(".", maxsplit=1)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A distribution's code name, its own Python and its glibc."""

    distribution: str
    codename: str
    python: str
    glibc: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaFact:
    """A CUDA minor: the oldest driver that runs it; whether nvcc comes as a wheel."""

    cuda: str
    min_driver: str
    nvcc_wheel: bool
    nvcc_source: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All facts, by name: `releases` by framework and version, `managed` by Python minor."""

    releases: Mapping[str, Mapping[str, Release]]
    distributions: Mapping[str, Distribution]
    managed: Mapping[str, str]
    managed_source: str
    cuda: Mapping[str, CudaFact]


def parse_facts(texts: Mapping[str, str]) -> Facts:
    """The facts in these texts, by file name.

    Raises BadInput where a row lacks a field, its source or the day it was checked.
    """
    releases: dict[str, dict[str, Release]] = {}
    distributions: dict[str, Distribution] = {}
    managed: dict[str, str] = {}
    sources: list[str] = []
    cuda: dict[str, CudaFact] = {}
    problems = []
    for name, text in texts.items():
        tree, repeats = parse_yaml(text, name)
        form = Form(name, repeats)
        top = form.table(tree, name)
        framework = form.text(top.get("framework"), "framework")
        for row in form.items(top.get("releases"), "releases"):
            release = _release(form, row)
            releases.setdefault(framework, {})[release.version] = release
        for row in form.items(top.get("distributions"), "distributions"):
            distribution = _distribution(form, row)
            distributions[distribution.distribution] = distribution
        for row in form.items(top.get("pythons"), "pythons"):
            table = _row(form, row, ("python", "managed"))
            managed[form.text(table.get("python"), "python")] = form.text(
                table.get("managed"), "managed"
            )
            sources.append(form.text(table.get("source"), "source"))
        for row in form.items(top.get("cuda"), "cuda"):
            fact = _cuda(form, row)
            cuda[fact.cuda] = fact
        problems += form.problems
    if problems:
        raise BadInput.of(problems)
    return Facts(
        releases=releases,
        distributions=distributions,
        managed=managed,
        managed_source=sources[0] if sources else "",
        cuda=cuda,
    )


def _row(form: Form, node: Node, needed: tuple[str, ...]) -> Mapping[str, Node]:
    """A fact's fields; one without a source and a day is refused."""
    return form.table(node, "a fact", needed=(*needed, "source", "checked"))


def _release(form: Form, node: Node) -> Release:
    table = _row(form, node, ("version", "pythons", "cuda"))
    companions = form.table(table.get("companions"), "companions")
    versions = {
        name: tuple(form.text(item, name) for item in form.items(row, name))
        for name, row in companions.items()
    }
    architectures = form.table(table.get("architectures"), "architectures")
    if architectures:
        form.table(node, "a release with architectures", needed=("architectures_source",))
    return Release(
        version=form.text(table.get("version"), "version"),
        pythons=form.texts(table.get("pythons"), "pythons"),
        cuda=form.texts(table.get("cuda"), "cuda"),
        companions=versions,
        companion_notes={name: form.text(table.get(f"{name}_note"), "note") for name in versions},
        architectures={name: form.texts(row, name) for name, row in architectures.items()},
        source=form.text(table.get("source"), "source"),
    )


def _distribution(form: Form, node: Node) -> Distribution:
    table = _row(form, node, ("distribution", "codename", "python", "glibc"))
    return Distribution(
        distribution=form.text(table.get("distribution"), "distribution"),
        codename=form.text(table.get("codename"), "codename"),
        python=form.text(table.get("python"), "python"),
        glibc=form.text(table.get("glibc"), "glibc"),
        source=form.text(table.get("source"), "source"),
    )


def _cuda(form: Form, node: Node) -> CudaFact:
    table = _row(form, node, ("cuda", "min_driver", "nvcc_wheel", "nvcc_source"))
    return CudaFact(
        cuda=form.text(table.get("cuda"), "cuda"),
        min_driver=form.text(table.get("min_driver"), "min_driver"),
        nvcc_wheel=form.text(table.get("nvcc_wheel"), "nvcc_wheel") == "true",
        nvcc_source=form.text(table.get("nvcc_source"), "nvcc_source"),
        source=form.text(table.get("source"), "source"),
    )
