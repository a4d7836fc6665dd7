"""A corner that can exist and is wanted -> a cell."""

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple

from dlimg.errors import Problem
from dlimg.facts.load import Facts
from dlimg.matrix.model import NO_FACTS, Family, Matrix, StackChoice
from dlimg.matrix.required_checks import required_of
from dlimg.model import CPU, Cell, EnvVar, Flavour, OperatingSystem, Stack

ANY: Final = "any"
FLAVOURS: Final = MappingProxyType({flavour.value: flavour for flavour in Flavour})


class _Shared(NamedTuple):
    """What is the same for all systems and Pythons."""

    package: str
    requirements: tuple[str, ...]
    notes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    required_checks: tuple[str, ...] = ()


_NAMELESS: Final = _Shared("-", ("-",))


@cache
def _package(requirement: str) -> str:
    """The name that a requirement begins with: up to what PEP 508 lets follow it."""
    return re.split(r"[\[<>=!~;( ]", requirement, maxsplit=1)[0]


class CellFactory:
    """Makes cells; what cells share (stacks, systems, requirements) is made once."""

    def __init__(self, matrix: Matrix, facts: Facts, digests: Mapping[str, str]) -> None:
        self.matrix = matrix
        self.facts = facts
        self.digests = digests
        self.stacks = {name: self._stack(choice) for name, choice in matrix.stacks.items()}
        self.systems = {name: self._system(name) for name in matrix.operating_systems}
        self.kinds = {CPU: CPU} | {
            name: f"cuda{stack.cuda.split('.')[0]}" for name, stack in self.stacks.items()
        }
        self.texts: dict[tuple[str, str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self.shared: dict[tuple[str, str, str, str], _Shared] = {}
        self.missing: set[tuple[str, str]] = set()

    def _stack(self, choice: StackChoice) -> Stack:
        return Stack(
            name=choice.name,
            cuda=choice.cuda,
            cudnn=choice.cudnn,
            leader=choice.leader,
            python=choice.python,
            platform=self.matrix.platform,
            exceptions=choice.exceptions,
        )

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

    def name(self, family: Family, corner: Mapping[str, str]) -> str:
        """The id that the cell of this corner has, or would have."""
        return self._cell(family, corner, _NAMELESS).id

    def cell(self, family: Family, corner: Mapping[str, str]) -> Cell:
        key = (family.name, corner["version"], corner["accelerator"], corner["flavour"])
        shared = self.shared.get(key)
        if shared is None:
            requirements = self._requirements(family, corner)
            name, version, accelerator, flavour = key
            shared = self.shared[key] = _Shared(
                package=_package(requirements[0]),
                requirements=requirements,
                notes=self._notes(family, corner),
                architectures=self._architectures(family, version, accelerator),
                required_checks=required_of(self.matrix, name, accelerator, flavour),
            )
        return self._cell(family, corner, shared)

    def _cell(self, family: Family, corner: Mapping[str, str], shared: _Shared) -> Cell:
        version, accelerator = corner["version"], corner["accelerator"]
        system, python = self.systems[corner["os"]], corner["python"]
        return Cell(
            family=family.name,
            package=shared.package,
            version=version,
            accelerator=accelerator,
            stack=None if accelerator == CPU else self.stacks[accelerator],
            python=python,
            managed_python="" if python == system.python else self.facts.managed[python],
            os=system,
            flavour=FLAVOURS[corner["flavour"]],
            platform=self.matrix.platform,
            requirements=shared.requirements,
            notes=shared.notes,
            required_checks=shared.required_checks,
            architectures=shared.architectures,
            env=self._environment(family, corner),
            source=self.matrix.source_url,
            licenses=self.matrix.licenses,
        )

    def _environment(self, family: Family, corner: Mapping[str, str]) -> tuple[EnvVar, ...]:
        return tuple(one.variable for one in family.env if one.match.fits(corner))

    def _architectures(self, family: Family, version: str, accelerator: str) -> tuple[str, ...]:
        release = self.facts.releases.get(family.framework, {}).get(version)
        if accelerator == CPU or release is None:
            return ()
        return release.architectures_for(self.stacks[accelerator].cuda)

    def _requirements(self, family: Family, corner: Mapping[str, str]) -> tuple[str, ...]:
        kind = self.kinds[corner["accelerator"]]
        if kind not in family.packages:
            self.missing.add((family.name, kind))
            return ("-",)
        key = (family.name, kind, corner["flavour"])
        if key not in self.texts:
            extra = self.matrix.flavours.get(corner["flavour"], {})
            own = (*family.packages[kind], *family.packages.get(ANY, ()))
            self.texts[key] = own, (*extra.get(ANY, ()), *extra.get(kind, ()), "pip")
        own, extras = self.texts[key]
        version = corner["version"]
        wanted = [text.replace("{version}", version) for text in own]
        return tuple(dict.fromkeys([*wanted, *self._companions(family, corner), *extras]))

    def _companions(self, family: Family, corner: Mapping[str, str]) -> list[str]:
        release = self.facts.releases.get(family.framework, {}).get(corner["version"])
        found = []
        for name in family.companions.get(self.kinds[corner["accelerator"]], ()):
            if release is None or name not in release.companions:
                found.append(name)
            elif release.companions[name]:
                found.append(f"{name}=={release.companions[name][-1]}")
        return found

    def _notes(self, family: Family, corner: Mapping[str, str]) -> tuple[str, ...]:
        """What the facts leave open: the release itself, or companions that none pairs with."""
        version = corner["version"]
        release = self.facts.releases.get(family.framework, {}).get(version)
        if release is None:
            what = family.name if family.framework == NO_FACTS else family.framework
            return (f"no facts about {what} {version}: nothing was checked",)
        found = []
        for name in family.companions.get(self.kinds[corner["accelerator"]], ()):
            if name in release.companions and not release.companions[name]:
                why = release.companion_notes[name]
                pair = f"{family.framework} {version}"
                found.append(f"no {name} pairs with {pair}: {why} ({release.source})")
        return tuple(found)

    def problems(self, family: Family) -> list[Problem]:
        """Kinds of accelerator that this family's axes ask for and its packages do not know."""
        return [
            Problem(
                message=f"family {name} has no packages for {kind}",
                where=f"{self.matrix.source}:{family.line}",
                hint=f"add `{kind}: [...]` under its packages, or take the accelerator out",
            )
            for name, kind in sorted(self.missing)
            if name == family.name
        ]
