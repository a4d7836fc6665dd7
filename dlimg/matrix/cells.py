"""Cells, made from combinations of axis values."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from dlimg.compat.host_limits import driver_floor, ends_of_life
from dlimg.compat.rules_bounds import bound_texts
from dlimg.errors import Problem
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI, X86_64
from dlimg.matrix.additions import additions_of
from dlimg.matrix.cudnn import override_of
from dlimg.matrix.indexes import indexes_for
from dlimg.matrix.leaders import accelerator_kind, package_of
from dlimg.matrix.model import CUDNN, NO_FACTS, VERSION, AxisValues, Family, Matrix
from dlimg.matrix.required_checks import required_checks_of
from dlimg.model import (
    CPU,
    Cell,
    EndOfLife,
    EnvVar,
    Flavour,
    Framework,
    OperatingSystem,
    Stack,
)

ANY: Final = "any"
FLAVOURS: Final = MappingProxyType({flavour.value: flavour for flavour in Flavour})


class _Shared(NamedTuple):
    """The values of a cell that do not depend on its operating system and Python."""

    package: str
    requirements: tuple[str, ...]
    bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    required_checks: tuple[str, ...] = ()


_NO_VALUES: Final = _Shared("-", ("-",))


NO_FRAMEWORKS: Final[Mapping[str, Framework]] = MappingProxyType({})


class CellFactory:
    """Makes cells; the values that cells share (systems, requirements) are made once."""

    def __init__(
        self,
        matrix: Matrix,
        facts: Facts,
        digests: Mapping[str, str],
        frameworks: Mapping[str, Framework] = NO_FRAMEWORKS,
    ) -> None:
        self.matrix = matrix
        self.frameworks = frameworks
        self.facts = facts
        self.digests = digests
        self.systems = {name: self._system(name) for name in matrix.operating_systems}
        self.kinds = {name: accelerator_kind(matrix, name) for name in (CPU, *matrix.stacks)}
        self.indexes = {name: indexes_for(matrix, name, kind) for name, kind in self.kinds.items()}
        self.packages: dict[tuple[str, str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self.shared: dict[tuple[str, str, str, str], _Shared] = {}
        self.ends: dict[tuple[str, str], tuple[EndOfLife, ...]] = {}
        self.missing: set[tuple[str, str]] = set()

    def _system(self, name: str) -> OperatingSystem:
        choice = self.matrix.operating_systems[name]
        fact = self.facts.distributions[choice.distribution]
        return OperatingSystem(
            name=name,
            distribution=choice.distribution,
            vendor=choice.distribution.split()[0].lower(),
            suite=fact.codename,
            image=choice.image,
            python=fact.python,
            digest=self.digests.get(name, ""),
            glibc=fact.glibc,
        )

    def kinds_of(self, cells: Iterable[Cell]) -> Mapping[str, str]:
        """Return the kinds of these cells' accelerators."""
        return {cell.accelerator: self.kinds[cell.accelerator] for cell in cells}

    def id_of(self, family: Family, axis_values: AxisValues, stack: Stack | None) -> str:
        """Return the id that the cell of this combination has, or would have."""
        return self._cell(family, axis_values, _NO_VALUES, stack).id

    def python_source(self, axis_values: AxisValues) -> str:
        """Return where the combination's Python comes from: its distribution, or uv."""
        is_own = axis_values["python"] == self.systems[axis_values["os"]].python
        return "distribution" if is_own else "uv"

    def cell(self, family: Family, axis_values: AxisValues, stack: Stack | None) -> Cell:
        key = (
            family.name,
            axis_values["version"],
            axis_values["accelerator"],
            axis_values["flavour"],
        )
        shared = self.shared.get(key)
        if shared is None:
            requirements = self._requirements(family, axis_values)
            name, version, accelerator, flavour = key
            shared = self.shared[key] = _Shared(
                package=package_of(requirements[0]),
                requirements=requirements,
                bounds=bound_texts(self.facts, family.framework, version),
                notes=self._notes(family, axis_values),
                architectures=self._architectures(family, version, accelerator),
                required_checks=required_checks_of(self.matrix, name, accelerator, flavour),
            )
        return self._cell(family, axis_values, shared, stack)

    def _cell(
        self, family: Family, axis_values: AxisValues, shared: _Shared, stack: Stack | None
    ) -> Cell:
        system, python = self.systems[axis_values["os"]], axis_values["python"]
        kind = self.kinds[axis_values["accelerator"]]
        override = override_of(self.facts, self.matrix, family, axis_values)
        forced = f"cuDNN {axis_values[CUDNN]} is forced: {override.why}" if override else ""
        managed = "" if python == system.python else self.facts.managed.get(python, "")
        return Cell(
            family=family.name,
            package=shared.package,
            version=axis_values["version"],
            accelerator=axis_values["accelerator"],
            stack=stack,
            python=python,
            managed_python=managed,
            os=system,
            flavour=FLAVOURS[axis_values["flavour"]],
            platform=self.matrix.platform_of(family),
            requirements=shared.requirements,
            bounds=shared.bounds,
            notes=(*shared.notes, forced) if forced else shared.notes,
            required_checks=shared.required_checks,
            architectures=shared.architectures,
            env=_variables(family, axis_values),
            source=self.matrix.source_url,
            licenses=self.matrix.licenses,
            framework=self._framework(family),
            cudnn_override=override.why if override else "",
            paired_packages=family.paired_packages.get(kind, ()),
            additions=additions_of(family.additions, axis_values, kind),
            indexes=self.indexes[axis_values["accelerator"]],
            driver_floor=driver_floor(self.facts, stack.cuda) if stack else None,
            ends_of_life=self._ends_of_life(system.distribution, python if managed else ""),
            user=family.user,
        )

    def _ends_of_life(self, distribution: str, python: str) -> tuple[EndOfLife, ...]:
        key = (distribution, python)
        if key not in self.ends:
            self.ends[key] = ends_of_life(self.facts, distribution, python)
        return self.ends[key]

    def _framework(self, family: Family) -> Framework:
        """Return the framework that the family names, as its own folder has it if it does.

        A family without facts has the framework of its own folder alone.
        """
        own = self.frameworks.get(family.name)
        if own and (family.framework == NO_FACTS or own.facts in {"", family.framework}):
            return own
        named = (
            framework
            for framework in self.frameworks.values()
            if (framework.facts or framework.folder) == family.framework
        )
        return next(named, Framework())

    def _architectures(self, family: Family, version: str, accelerator: str) -> tuple[str, ...]:
        release = self.facts.releases.get(family.framework, {}).get(version)
        if accelerator == CPU or release is None:
            return ()
        cuda = self.matrix.stacks[accelerator].cuda
        if self.matrix.arch == X86_64:
            return release.architectures_for(cuda)
        builds = (build for build in release.builds_for(cuda, self.matrix.arch))
        return next((build.architectures for build in builds if build.index == PYPI), ())

    def _requirements(self, family: Family, axis_values: AxisValues) -> tuple[str, ...]:
        kind = self.kinds[axis_values["accelerator"]]
        if kind not in family.packages:
            self.missing.add((family.name, kind))
            return ("-",)
        key = (family.name, kind, axis_values["flavour"])
        if key not in self.packages:
            extra = self.matrix.flavours.get(axis_values["flavour"], {})
            of_flavour = family.packages.get(axis_values["flavour"], ())
            own = (*family.packages[kind], *family.packages.get(ANY, ()), *of_flavour)
            self.packages[key] = own, (*extra.get(ANY, ()), *extra.get(kind, ()), "pip")
        own, extras = self.packages[key]
        framework = [package.replace(VERSION, axis_values["version"]) for package in own]
        paired = self._paired_packages(family, axis_values)
        return tuple(dict.fromkeys([*framework, *paired, *extras]))

    def _paired_packages(self, family: Family, axis_values: AxisValues) -> list[str]:
        release = self.facts.releases.get(family.framework, {}).get(axis_values["version"])
        requirements = []
        for name in family.paired_packages.get(self.kinds[axis_values["accelerator"]], ()):
            if release is None or name not in release.paired_packages:
                requirements.append(name)
            elif release.paired_packages[name]:
                requirements.append(f"{name}=={release.paired_packages[name][-1]}")
        return requirements

    def _notes(self, family: Family, axis_values: AxisValues) -> tuple[str, ...]:
        """Return gaps in the facts: an unknown release, or packages that none pairs with."""
        version = axis_values["version"]
        release = self.facts.releases.get(family.framework, {}).get(version)
        if release is None:
            subject = family.name if family.framework == NO_FACTS else family.framework
            return (f"no facts about {subject} {version}: nothing was checked",)
        notes = []
        for name in family.paired_packages.get(self.kinds[axis_values["accelerator"]], ()):
            if name in release.paired_packages and not release.paired_packages[name]:
                why = release.paired_note(name)
                pair = f"{family.framework} {version}"
                notes.append(f"no {name} pairs with {pair}: {why} ({release.source})")
        return tuple(notes)

    def problems(self, family: Family) -> list[Problem]:
        """Return the kinds of accelerator on the family's axes that its packages lack."""
        return [
            Problem(
                message=f"family {name} has no packages for {kind}",
                where=f"{self.matrix.source}:{family.line}",
                hint=f"add `{kind}: [...]` under its packages, or take the accelerator out",
            )
            for name, kind in sorted(self.missing)
            if name == family.name
        ]


def _variables(family: Family, axis_values: AxisValues) -> tuple[EnvVar, ...]:
    return tuple(stated.variable for stated in family.env if stated.match.fits(axis_values))
