"""Rules about wheels: one must exist for this Python, architecture, CUDA and glibc."""

from typing import Final

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, confirm, refuse, warn
from dlimg.compat.wheel_tags import admits, glibc_floor_of, misfits
from dlimg.document.versions import join_with_and, minor, newest, numbers
from dlimg.facts.load import Facts
from dlimg.facts.model import (
    AARCH64,
    PYPI,
    VENDOR,
    Distribution,
    FrameworkRelease,
    ReleaseBuild,
)

# Packages that are numbered as CUDA itself is: a pin of one is a pin of CUDA.
_NUMBERED_AS_CUDA: Final = (
    "nvidia-cuda-runtime-cu11",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cublas-cu12",
    "nvidia-cuda-runtime",
    "cuda-toolkit",
)
# From here on wheels name a glibc that old tags such as manylinux1 cannot contradict.
_RECENT_GLIBC: Final = (2, 28)


def python_wheel(_facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a release without a wheel for this Python. A release without a row is not judged."""
    release, build, python = combination.release, combination.build, combination.python
    if release is None or not python:
        return None
    pythons = build.pythons if build and build.pythons else release.pythons
    name, origin = combination.release_name, release.origin
    if release.yanked:
        message = f"{name} was withdrawn from the index, or packages that it depends on were"
        return refuse("python-wheel", "install", message, origin.source)
    if not pythons:
        message = f"{name} cannot be installed: {origin.notes.get('pythons', 'it has no wheels')}"
        return refuse("python-wheel", "install", message, origin.source_of("pythons"))
    if python in pythons or python in release.free_threaded:
        return confirm("python-wheel", f"{name} has wheels for Python {python}", origin.source)
    message = f"{name} has no wheel for Python {python} (it has {', '.join(pythons)})"
    certain = origin.sure_of("pythons")
    return refuse("python-wheel", "install", message, origin.source, certain=certain)


def platform_tag(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse wheels that need another C library, or a newer one, than the distribution has."""
    system, release = combination.distribution, combination.release
    platform = combination.platform or (release.platform if release else "")
    if system is None:
        return None
    if system.libc == "musl":
        message = f"{system.distribution} has musl; the wheels are built for glibc"
        message = f"{message}: take Debian or Ubuntu"
        return refuse("platform-tag", "install", message, system.origin.source)
    floor = glibc_floor_of(platform)
    if not system.glibc:
        return None
    if not floor:
        return _old_tag(facts, combination, system)
    message = f"{system.distribution} has glibc {system.glibc}, the wheels need {floor}"
    origin = system.origin.of("glibc")
    if numbers(system.glibc) < numbers(floor):
        return refuse("platform-tag", "install", message, origin.source, certain=origin.certain)
    return confirm("platform-tag", f"{message} or newer", origin.source, certain=origin.certain)


def _old_tag(facts: Facts, combination: Combination, system: Distribution) -> RuleResult | None:
    """Warn of a tag `manylinux1` if the framework's wheels need more than it promises."""
    release = combination.release
    statement = facts.statements.get(f"{combination.framework}-manylinux1")
    if release is None or release.platform != "manylinux1" or statement is None:
        return None
    if numbers(system.glibc) >= _RECENT_GLIBC:
        return None
    message = f"{combination.release_name} is tagged manylinux1 and needs a newer glibc than that"
    message = f"{message} tag says; which one is not known"
    message = f"{message} ({system.distribution}: {system.glibc})"
    return warn("platform-tag", message, statement.origin.source, certain=False)


def locked_wheels(_facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a lock with a wheel whose tags do not fit the Python, architecture or glibc."""
    lock, system = combination.wheels, combination.distribution
    if lock is None or system is None:
        return None
    files = [wheel.file for wheel in lock.wheels]
    rejected = misfits(files, combination.python, combination.arch, system.glibc)
    source = f"the lock of {lock.name}"
    if rejected:
        message = (
            f"{join_with_and(rejected[:3])} cannot be installed by Python {combination.python}"
        )
        message = f"{message} on {combination.arch} with glibc {system.glibc}"
        return refuse("locked-wheels", "install", message, source)
    fit = f"all {len(files)} locked wheels fit" if len(files) > 1 else "the only locked wheel fits"
    message = f"{fit} Python {combination.python}"
    return confirm("locked-wheels", f"{message} and glibc {system.glibc}", source)


def cuda_build(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a release without a build for this CUDA on this architecture."""
    release, build, cuda = combination.release, combination.build, combination.cuda
    if release is None:
        return None
    if build is None:
        return _no_build(facts, release, combination)
    origin = build.origin
    if not cuda:
        message = f"{combination.name} has a build without CUDA"
        return confirm("cuda-build", message, origin.source)
    pins = _pins_against(build, cuda)
    if pins:
        name, pin = pins[0]
        exact = "" if pin[0] in "<>=~!" else "=="
        message = f"{build.package} {combination.version} asks for {name} {exact}{pin}"
        message = f"{message}, which CUDA {cuda} does not have"
        return refuse("cuda-build", "install", message, origin.source, certain=origin.certain)
    if build.uses_system_cuda and not minor(_linked_cuda(build)).startswith(cuda):
        return _other_system_cuda(combination, release, build)
    index = "on PyPI" if build.index == PYPI else f"as {build.variant}"
    message = f"{build.package} {combination.version} is available for CUDA {cuda} {index}"
    return confirm("cuda-build", message, origin.source, certain=origin.certain)


def pinned_wheels(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a build that pins a version of a package which the package index does not have."""
    build = combination.build
    if build is None or build.index != PYPI:
        return None
    python = combination.python
    missing = [
        row
        for pin in build.pins.items()
        if (row := facts.unavailable.get(pin))
        and not (row.pythons and (python in row.pythons or not python))
    ]
    if not missing:
        return None
    versions = join_with_and([f"{row.package} {row.version}" for row in missing])
    message = f"{build.package} {combination.version} pins {versions}: PyPI has no wheel of"
    for_python = f" for Python {python}" if missing[-1].pythons else ""
    message = f"{message} {'it' if len(missing) == 1 else 'them'}{for_python}"
    origin = missing[-1].origin
    return refuse("pinned-wheels", "install", message, origin.source, certain=origin.certain)


def _pins_against(build: ReleaseBuild, cuda: str) -> list[tuple[str, str]]:
    """Return the pins of packages numbered as CUDA that no version of this CUDA fits."""
    return [
        (name, pin)
        for name, pin in build.pins.items()
        if name in _NUMBERED_AS_CUDA and not admits(pin, cuda)
    ]


def pins_admit(build: ReleaseBuild, cuda: str) -> bool:
    """Return whether no pin of the build demands another CUDA."""
    return not _pins_against(build, cuda)


def _linked_cuda(build: ReleaseBuild) -> str:
    """Return the CUDA whose libraries the build loads by name."""
    return build.built_for or build.cuda


def _other_system_cuda(
    combination: Combination, release: FrameworkRelease, build: ReleaseBuild
) -> RuleResult:
    """Judge a build that takes CUDA from the system and was built for another minor of it."""
    cuda, linked = combination.cuda, _linked_cuda(build)
    message = f"{combination.name} was built for CUDA {linked} and takes its libraries from the"
    if _is_newer_of_major(cuda, linked):
        message = f"{message} system; it is not confirmed that it loads those of {cuda}"
        return warn("cuda-build", message, release.source, certain=False)
    message = f"{message} system: those of {cuda} do not fit; take CUDA {minor(linked)}"
    return refuse("cuda-build", "runtime", message, release.source)


def _is_newer_of_major(cuda: str, linked: str) -> bool:
    """Return whether both have the same library names: since CUDA 11 these have the major only."""
    asked, built = numbers(cuda), numbers(linked)
    return asked[:1] == built[:1] >= (11,) and asked > built


def _no_build(
    facts: Facts, release: FrameworkRelease, combination: Combination
) -> RuleResult | None:
    name, arch = combination.release_name, combination.arch
    framework = facts.frameworks.get(combination.framework)
    if not combination.cuda and not combination.gpu:
        needs_none = framework is not None and framework.plain_runs_on_cpu
        if combination.wheels or needs_none:
            message = f"{name} without CUDA needs no build of its own"
            return confirm("cuda-build", message, release.source)
    builds = [build for build in release.builds if build.arch == arch]
    if not combination.cuda and (combination.gpu or combination.driver) and builds:
        return None  # the rule gpu-unused
    cudas = list(dict.fromkeys(build.cuda for build in builds if build.cuda))
    if arch == AARCH64 and not cudas and (combination.gpu or combination.driver):
        message = f"{name} has no aarch64 wheel with CUDA on PyPI"
        return refuse("cuda-build", "install", message, release.source)
    if arch == AARCH64 and not cudas:
        message = f"{name}: aarch64 builds with CUDA beyond PyPI's are not known"
        return warn("cuda-build", message, release.source, certain=False)
    built = f"CUDA {', '.join(cudas)}" if cudas else "no CUDA"
    requested = combination.cuda or "for the CPU alone"
    where = f" on {arch}" if arch == AARCH64 else ""
    message = f"{name} is built for {built}{where}, not {requested}"
    vendors = (build.origin.source for build in builds if build.index == VENDOR)
    source = next(vendors, release.source)
    certain = all(build.origin.certain for build in builds) or _ended_before(facts, combination)
    return refuse("cuda-build", "install", message, source, certain=certain)


def _ended_before(facts: Facts, combination: Combination) -> bool:
    """Return whether an older release, whose builds are certain, already dropped this CUDA.

    An unconfirmed list of builds alone refuses nothing.
    """
    older = [
        release
        for version, release in facts.releases.get(combination.framework, {}).items()
        if numbers(version) < numbers(combination.version)
        and release.builds
        and all(build.origin.certain for build in release.builds)
    ]
    last = max(older, key=lambda release: numbers(release.version), default=None)
    cudas = [numbers(build.cuda) for build in last.builds if build.cuda] if last else []
    return bool(cudas and combination.cuda) and numbers(combination.cuda) < min(cudas)


def cuda_index(facts: Facts, combination: Combination) -> RuleResult | None:
    """Warn of a build that is not on the package index, only on the vendor's own."""
    build, release = combination.build, combination.release
    if build is None or build.index != VENDOR:
        return None
    default = newest(
        other.cuda
        for other in (release.builds if release else ())
        if other.index == PYPI and other.arch == combination.arch
    )
    index = vendor_index(facts, combination.framework)
    message = f"{combination.release_name} as {build.variant} is only on {index}"
    if default:
        message = f"{message}/{build.variant}; PyPI has the build for CUDA {default}"
    return warn("cuda-index", message, build.origin.source, certain=build.origin.certain)


def vendor_index(facts: Facts, framework: str) -> str:
    """Return the address of the vendor's own package index, or a phrase if it is not known."""
    fact = facts.frameworks.get(framework)
    return (fact.vendor_index if fact else "") or "the vendor's index"


def package_name(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a package that has no such release or wheel, or that is not a build for GPUs."""
    package, release = facts.packages.get(combination.package), combination.release
    if package is None:
        return None
    last = package.last_version
    if last and numbers(combination.version)[:2] > numbers(last)[:2]:
        message = f"{package.package} ends with {last}; the GPU build is called {package.instead}"
        return refuse("package-name", "install", message, package.origin.source)
    if package.arch and package.arch != combination.arch:
        only = f"{package.package} has wheels for {package.arch} only"
        message = f"{only}, not for {combination.arch}: take {package.framework}"
        return refuse("package-name", "install", message, package.origin.of("arch").source)
    if package.builds == "cpu" and (combination.cuda or combination.gpu):
        source = release.source if release else package.origin.source
        message = f"{package.package} sees no GPU: take {package.instead}"
        return refuse("package-name", "runtime", message, source)
    return None
