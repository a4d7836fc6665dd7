"""Feasibility of combinations by the rules that need no GPU; each pair of values is judged once."""

from collections.abc import Mapping

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, refuse
from dlimg.compat.rules_image import base_image, compiler_wheel, python_source
from dlimg.compat.rules_wheel import (
    cuda_build,
    package_name,
    pinned_wheels,
    platform_tag,
    python_wheel,
    vendor_index,
)
from dlimg.facts.load import Facts
from dlimg.facts.model import AARCH64, PYPI
from dlimg.matrix.cudnn import cudnn_choices, override_of, refused_cudnn, refused_pin
from dlimg.matrix.leaders import accelerator_kind, package_of
from dlimg.matrix.model import CUDNN, Family, Matrix
from dlimg.model import CPU


def refusal(result: RuleResult | None) -> RuleResult | None:
    """Return the result if it is a refusal, else None."""
    return result if result is not None and result.level == "refusal" else None


def missing_on_pypi(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a CUDA for which PyPI has no build: the solver asks no other index.

    Nothing is refused of an aarch64 release whose wheels nobody has looked at.
    """
    release = combination.release
    if release is None:
        return None
    if combination.arch == AARCH64:
        cudas = release.aarch64_cuda
        built = f"for CUDA {', '.join(cudas)}" if cudas else "without CUDA"
        message = f"PyPI's aarch64 wheel of {combination.name} is built {built}"
        origin = release.origin.of("aarch64_cuda")
        if cudas is None:
            return None
        message = f"{message}, not for {combination.cuda}"
        return refuse("cuda-build", "install", message, origin.source, certain=origin.certain)
    message = (
        f"{combination.name} is built for CUDA {', '.join(release.cuda)}, not {combination.cuda}"
    )
    builds = (build for build in release.builds_for(combination.cuda) if build.origin.certain)
    elsewhere = next(builds, None)
    if elsewhere is not None:
        index = vendor_index(facts, combination.framework)
        message = f"{message} ({elsewhere.variant} is on {index} only)"
    return refuse("cuda-build", "install", message, release.source)


class Feasibility:
    """The rules for one family's combinations, evaluated once for each pair of values."""

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
        self.by_cudnn = {
            (version, name, cudnn): refused_cudnn(facts, self._release(version, name), cudnn)
            for version in axes["version"]
            for name in axes["accelerator"]
            for cudnn in cudnn_choices(matrix, name)
        }
        self.by_pins = {
            (version, name, python): self._pins(version, name, python)
            for version in axes["version"]
            for name in axes["accelerator"]
            for python in axes["python"]
        }
        self.by_base = {
            (version, name, system): self._base(version, name, system)
            for version in axes["version"]
            for name in axes["accelerator"]
            for system in axes["os"]
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

    def _release(self, version: str, accelerator: str = CPU, python: str = "") -> Combination:
        framework = self.family.framework
        release = self.facts.releases.get(framework, {}).get(version)
        cuda = "" if accelerator == CPU else self.matrix.stacks[accelerator].cuda
        arch = self.matrix.arch
        builds = release.builds_for(cuda, arch) if release else ()
        on_pypi = [build for build in builds if build.index == PYPI]
        return Combination(
            framework=framework,
            version=version,
            release=release,
            build=on_pypi[0] if on_pypi else None,
            cuda=cuda,
            python=python,
            arch=arch,
        )

    def _python(self, version: str, python: str) -> RuleResult | None:
        return refusal(python_wheel(self.facts, self._release(version, python=python)))

    def _cuda(self, version: str, accelerator: str) -> RuleResult | None:
        # A CPU build may come from a folder of wheels that no fact knows.
        combination = self._release(version, accelerator)
        named = combination._replace(package=self._package(accelerator))
        refused = refusal(package_name(self.facts, named))
        if refused and refused.at == "install":
            return refused
        if accelerator == CPU or combination.release is None:
            return None
        if combination.build is None:
            return refusal(missing_on_pypi(self.facts, combination))
        return refusal(cuda_build(self.facts, combination))

    def _package(self, accelerator: str) -> str:
        """Return the package of an accelerator's images, if it is not the framework's own name."""
        names = self.family.packages.get(accelerator_kind(self.matrix, accelerator), ())
        package = package_of(names[0]) if names else ""
        return package if package in self.facts.packages else ""

    def _pins(self, version: str, accelerator: str, python: str) -> RuleResult | None:
        if accelerator == CPU:
            return None
        return refusal(pinned_wheels(self.facts, self._release(version, accelerator, python)))

    def _base(self, version: str, accelerator: str, system: str) -> RuleResult | None:
        combination = self._release(version, accelerator)
        choice = self.matrix.operating_systems[system]
        distribution = self.facts.distributions[choice.distribution]
        return refusal(base_image(self.facts, combination._replace(distribution=distribution)))

    def _system(self, name: str, python: str) -> RuleResult | None:
        choice = self.matrix.operating_systems[name]
        combination = Combination(
            framework=self.family.framework,
            version="",
            distribution=self.facts.distributions[choice.distribution],
            python=python,
            platform=self.matrix.platform_of(self.family),
        )
        platform = refusal(platform_tag(self.facts, combination))
        return platform or refusal(python_source(self.facts, combination))

    def _flavour(self, flavour: str, accelerator: str) -> RuleResult | None:
        cuda = "" if accelerator == CPU else self.matrix.stacks[accelerator].cuda
        combination = Combination(framework="", version="", cuda=cuda, flavour=flavour)
        return refusal(compiler_wheel(self.facts, combination))

    def _pin(self, axis_values: Mapping[str, str]) -> RuleResult | None:
        """Return the refusal of a cuDNN that the framework does not pin, unless it is forced."""
        refused = refused_pin(self.facts, self.matrix, self.family, axis_values)
        override = override_of(self.facts, self.matrix, self.family, axis_values)
        return None if override else refused

    def verdict(self, axis_values: Mapping[str, str]) -> RuleResult | None:
        """Return the first refusal of this combination, or None."""
        version, accelerator = axis_values["version"], axis_values["accelerator"]
        python, system = axis_values["python"], axis_values["os"]
        return (
            self.by_python[version, python]
            or self.by_cuda[version, accelerator]
            or self.by_pins[version, accelerator, python]
            or self.by_base[version, accelerator, system]
            or self.by_system[system, python]
            or self.by_flavour[axis_values["flavour"], accelerator]
            or self.by_cudnn[version, accelerator, axis_values[CUDNN]]
            or self._pin(axis_values)
        )
