"""Corners of a matrix under the rules that are about an image alone; each pair is judged once."""

from collections.abc import Mapping

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, refuse
from dlimg.compat.rules_image import compiler_wheel, python_source
from dlimg.compat.rules_wheel import cuda_build, platform_tag, python_wheel, vendor_index
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI
from dlimg.matrix.model import Family, Matrix
from dlimg.model import CPU


def refusal(reason: RuleResult | None) -> RuleResult | None:
    """The reason, if it is a refusal."""
    return reason if reason is not None and reason.level == "refusal" else None


def missing_on_pypi(facts: Facts, one: Combination) -> RuleResult | None:
    """Why the package index has no build: the solver asks no other index."""
    release = one.release
    if release is None:
        return None
    message = f"{one.name} is built for CUDA {', '.join(release.cuda)}, not {one.cuda}"
    there = next((build for build in release.builds_for(one.cuda) if build.origin.certain), None)
    if there is not None:
        message = f"{message} ({there.variant} is on {vendor_index(facts, one.framework)} only)"
    return refuse("cuda-build", "install", message, release.source)


class Feasibility:
    """All rules for one family's corners, however many cells share a pair of values."""

    def __init__(self, matrix: Matrix, facts: Facts, family: Family) -> None:
        self.facts = facts
        self.family = family
        self.matrix = matrix
        axes = family.axes
        self.by_python = {
            (version, python): self._python(version, python)
            for version in axes["version"]
            for python in axes["python"]
        }
        self.by_cuda = {
            (version, name): self._cuda(version, name)
            for version in axes["version"]
            for name in axes["accelerator"]
        }
        self.by_system = {
            (name, python): self._system(name, python)
            for name in axes["os"]
            for python in axes["python"]
        }
        self.by_flavour = {
            (flavour, name): self._flavour(flavour, name)
            for flavour in axes["flavour"]
            for name in axes["accelerator"]
        }

    def _released(self, version: str, accelerator: str = CPU, python: str = "") -> Combination:
        framework = self.family.framework
        release = self.facts.releases.get(framework, {}).get(version)
        cuda = "" if accelerator == CPU else self.matrix.stacks[accelerator].cuda
        builds = [one for one in release.builds_for(cuda) if one.index == PYPI] if release else ()
        return Combination(
            framework=framework,
            version=version,
            release=release,
            build=builds[0] if builds else None,
            cuda=cuda,
            python=python,
        )

    def _python(self, version: str, python: str) -> RuleResult | None:
        return refusal(python_wheel(self.facts, self._released(version, python=python)))

    def _cuda(self, version: str, accelerator: str) -> RuleResult | None:
        # A CPU build may come from a folder of wheels that no fact knows.
        one = self._released(version, accelerator)
        if accelerator == CPU or one.release is None:
            return None
        return refusal(cuda_build(self.facts, one)) if one.build else missing_on_pypi(self.facts, one)

    def _system(self, name: str, python: str) -> RuleResult | None:
        choice = self.matrix.operating_systems[name]
        one = Combination(
            framework=self.family.framework,
            version="",
            distribution=self.facts.distributions[choice.distribution],
            python=python,
            platform=self.matrix.platform,
        )
        return refusal(platform_tag(self.facts, one)) or refusal(python_source(self.facts, one))

    def _flavour(self, flavour: str, accelerator: str) -> RuleResult | None:
        cuda = "" if accelerator == CPU else self.matrix.stacks[accelerator].cuda
        one = Combination(framework="", version="", cuda=cuda, flavour=flavour)
        return refusal(compiler_wheel(self.facts, one))

    def verdict(self, corner: Mapping[str, str]) -> RuleResult | None:
        """The first reason why this corner cannot exist, or None."""
        return (
            self.by_python[corner["version"], corner["python"]]
            or self.by_cuda[corner["version"], corner["accelerator"]]
            or self.by_system[corner["os"], corner["python"]]
            or self.by_flavour[corner["flavour"], corner["accelerator"]]
        )
