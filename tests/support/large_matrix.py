"""A large matrix, made up from the facts."""

from itertools import islice, product

from dlimg.compat.combination import Combination
from dlimg.facts.load import Facts


def many_cells(known: Facts, count: int) -> list[Combination]:
    """Different cells as a large matrix has them: releases, CUDAs, Pythons, systems, flavours."""
    builds = [
        (release, build)
        for releases in known.releases.values()
        for release in list(releases.values())[-12:]
        for build in release.builds
    ]
    systems = list(known.distributions.values())
    flavours = ("runtime", "compile", "devel", "workspace")
    axes = product(builds, ("3.11", "3.12", "3.13", "3.14"), systems, flavours)
    return [
        Combination(
            framework=release.framework,
            version=release.version,
            release=release,
            build=build,
            cuda=build.cuda if "." in build.cuda else f"{build.cuda}.0" if build.cuda else "",
            python=python,
            distribution=system,
            flavour=flavour,
        )
        for (release, build), python, system, flavour in islice(axes, count)
    ]
