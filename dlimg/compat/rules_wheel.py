"""Rules about wheels: whether there is one for this Python, machine, CUDA and glibc."""

from typing import Final

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, against, support, warning
from dlimg.compat.wheel_tags import admits, glibc_floor_of, misfits
from dlimg.document.versions import listed, minor, newest, numbers
from dlimg.facts.load import Facts
from dlimg.facts.model import AARCH64, PYPI, VENDOR, Distribution, FrameworkRelease, ReleaseBuild

# The nearest place that offers every variant; the words `index` and `variant` are the vendor's.
VENDOR_INDEX: Final = "download.pytorch.org/whl"


def python_wheel(_facts: Facts, one: Combination) -> RuleResult | None:
    """No wheel of this release for this Python. A release without a row is not judged."""
    release = one.release
    if release is None or not one.python:
        return None
    pythons = one.build.pythons if one.build and one.build.pythons else release.pythons
    name, origin = f"{one.framework} {one.version}", release.origin
    sure = origin.sure_of("pythons")
    if one.python in pythons or one.python in release.free_threaded:
        return support("python-wheel", f"{name} has wheels for Python {one.python}", origin.source)
    message = f"{name} has no wheel for Python {one.python} (it has {', '.join(pythons)})"
    return against("python-wheel", "install", message, origin.source, certain=sure)


def platform_tag(facts: Facts, one: Combination) -> RuleResult | None:
    """The wheels ask for another C library, or a newer one, than the distribution has."""
    system = one.distribution
    asked = one.platform or (one.release.platform if one.release else "")
    if system is None:
        return None
    origin = system.origin
    if system.libc == "musl":
        message = f"{system.distribution} has musl; the wheels are built for glibc"
        hint = "take Debian or Ubuntu"
        return against("platform-tag", "install", f"{message}: {hint}", origin.source)
    floor = glibc_floor_of(asked)
    if not system.glibc:
        return None
    if not floor:
        return _old_tag(facts, one, system)
    what = f"{system.distribution} has glibc {system.glibc}, the wheels need {floor}"
    sure = origin.sure_of("glibc")
    source = origin.source_of("glibc")
    if numbers(system.glibc) < numbers(floor):
        return against("platform-tag", "install", what, source, certain=sure)
    return support("platform-tag", f"{what} or newer", source, certain=sure)


def _old_tag(facts: Facts, one: Combination, system: Distribution) -> RuleResult | None:
    """The tag `manylinux1` promises more than torch's wheels of that time hold."""
    fact, known = facts.statements.get("glibc-manylinux1"), facts.statements.get("glibc-torch")
    is_old = one.release is not None and one.release.platform == "manylinux1"
    if not is_old or one.framework != "torch" or fact is None or known is None:
        return None
    if numbers(system.glibc) >= (2, 28):
        return None
    message = (
        f"{one.framework} {one.version} is tagged manylinux1 and needs a newer glibc than that"
    )
    message = f"{message} says; nobody has measured which ({system.distribution}: {system.glibc})"
    return warning("platform-tag", message, fact.origin.source, certain=False)


def locked_wheels(_facts: Facts, one: Combination) -> RuleResult | None:
    """A locked wheel whose tags do not fit this Python, machine or glibc. The wheel knows best."""
    if one.wheels is None or one.distribution is None:
        return None
    wheels, glibc = one.wheels.wheels, one.distribution.glibc
    found = misfits([wheel.file for wheel in wheels], one.python, one.machine, glibc)
    source = f"the lock of {one.wheels.name}"
    if found:
        message = f"{listed(found[:3])} cannot be installed by Python {one.python}"
        on = f"{one.machine} with glibc {glibc}"
        return against("locked-wheels", "install", f"{message} on {on}", source)
    message = f"all {len(wheels)} locked wheels fit Python {one.python} and glibc {glibc}"
    return support("locked-wheels", message, source)


def cuda_build(facts: Facts, one: Combination) -> RuleResult | None:
    """No build of this release for this CUDA on this machine."""
    release = one.release
    if release is None:
        return None
    if one.build is None:
        return _no_build(facts, release, one)
    build, origin = one.build, one.build.origin
    if not one.cuda:
        return support("cuda-build", f"{one.name} has a build without CUDA", origin.source)
    pins = [
        (name, pin)
        for name, pin in build.pins.items()
        if name in _NUMBERED_AS_CUDA and not admits(pin, one.cuda)
    ]
    if pins:
        name, pin = pins[0]
        exact = "" if pin[0] in "<>=~!" else "=="
        message = f"{build.package} {one.version} asks for {name} {exact}{pin}"
        message = f"{message}, which CUDA {one.cuda} does not have"
        return against("cuda-build", "install", message, origin.source, certain=origin.certain)
    if _links_other(one):
        return _links(one, release)
    where = "on PyPI" if build.index == PYPI else f"as {build.variant}"
    message = f"{build.package} {one.version} is there for CUDA {one.cuda} {where}"
    return support("cuda-build", message, origin.source, certain=origin.certain)


# Parts that are numbered as CUDA itself is: a pin of one is a pin of CUDA.
_NUMBERED_AS_CUDA: Final = (
    "nvidia-cuda-runtime-cu11",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cublas-cu12",
    "nvidia-cuda-runtime",
    "cuda-toolkit",
)


def _links_other(one: Combination) -> bool:
    """Whether the wheel takes CUDA from the system, and was built for another minor of it."""
    build = one.build
    if build is None or build.pins or not _linked(build) or one.framework != "tensorflow":
        return False
    return not minor(_linked(build)).startswith(one.cuda)


def _linked(build: ReleaseBuild) -> str:
    """The CUDA whose libraries it looks for by name."""
    return build.built_for or build.cuda


def _links(one: Combination, release: FrameworkRelease) -> RuleResult:
    built = _linked(one.build) if one.build else ""
    message = f"{one.name} was built for CUDA {built} and takes its libraries from the system"
    if _is_newer_of_major(one.cuda, built):
        message = f"{message}; nobody has confirmed that it loads those of {one.cuda}"
        return warning("cuda-build", message, release.source, certain=False)
    message = f"{message}: those of {one.cuda} do not fit; take CUDA {minor(built)}"
    return against("cuda-build", "runtime", message, release.source)


def _is_newer_of_major(cuda: str, built: str) -> bool:
    """Whether its libraries bear the same names: since CUDA 11 these hold the major alone."""
    here, there = numbers(cuda), numbers(built)
    return here[:1] == there[:1] >= (11,) and here > there


def _no_build(facts: Facts, release: FrameworkRelease, one: Combination) -> RuleResult:
    if not one.cuda and not one.gpu and (one.wheels or one.framework == "jax"):
        message = f"{one.framework} {one.version} without CUDA needs no build of its own"
        return support("cuda-build", message, release.source)
    here = [build for build in release.builds if build.machine == one.machine]
    kinds = list(dict.fromkeys(build.cuda for build in here if build.cuda))
    name = f"{one.framework} {one.version}"
    if one.machine == AARCH64 and not kinds:
        message = f"{name}: nobody has looked for aarch64 builds with CUDA beyond PyPI's"
        return warning("cuda-build", message, release.source, certain=False)
    built = f"CUDA {', '.join(kinds)}" if kinds else "no CUDA"
    wanted = one.cuda or ("a GPU" if one.gpu or one.driver else "for the CPU alone")
    where = f" on {one.machine}" if one.machine == AARCH64 else ""
    message = f"{name} is built for {built}{where}, not {wanted}"
    source = next((build.origin.source for build in here if build.index == VENDOR), release.source)
    sure = all(build.origin.certain for build in here) or _ended_before(facts, one)
    return against("cuda-build", "install", message, source, certain=sure)


def _ended_before(facts: Facts, one: Combination) -> bool:
    """Whether an older release, whose builds are certain, had already left this CUDA behind.

    A list of builds that nobody confirmed forbids nothing by itself.
    """
    older = [
        release
        for version, release in facts.releases.get(one.framework, {}).items()
        if numbers(version) < numbers(one.version)
        and release.builds
        and all(build.origin.certain for build in release.builds)
    ]
    last = max(older, key=lambda release: numbers(release.version), default=None)
    known = [numbers(build.cuda) for build in last.builds if build.cuda] if last else []
    return bool(known) and bool(one.cuda) and numbers(one.cuda) < min(known)


def cuda_index(_facts: Facts, one: Combination) -> RuleResult | None:
    """The build is not on the package index, only on the vendor's own."""
    build = one.build
    if build is None or build.index != VENDOR:
        return None
    default = newest(
        other.cuda
        for other in (one.release.builds if one.release else ())
        if other.index == PYPI and other.machine == one.machine
    )
    message = f"{one.framework} {one.version} as {build.variant} is only on {VENDOR_INDEX}"
    if default:
        message = f"{message}/{build.variant}; PyPI has the build for CUDA {default}"
    return warning("cuda-index", message, build.origin.source, certain=build.origin.certain)


def package_name(facts: Facts, one: Combination) -> RuleResult | None:
    """A package name that has no such release, or is not a GPU build."""
    if one.framework != "tensorflow" or not one.package:
        return None
    fact = facts.statements.get("tensorflow-gpu-package-ends")
    if one.package == "tensorflow-gpu" and numbers(one.version) >= (2, 12):
        source = fact.origin.source if fact else "PyPI metadata of tensorflow-gpu 2.11.0"
        message = "tensorflow-gpu ends with 2.11.0; the GPU build is called tensorflow[and-cuda]"
        return against("package-name", "install", message, source)
    if one.package == "tensorflow-cpu" and (one.cuda or one.gpu):
        source = one.release.source if one.release else "the package's name"
        message = "tensorflow-cpu sees no GPU: take tensorflow[and-cuda], or tensorflow-gpu"
        return against("package-name", "runtime", f"{message} before 2.1", source)
    return None


def pins_admit(build: ReleaseBuild, cuda: str) -> bool:
    """Whether nothing that a build pins is numbered like another CUDA."""
    return all(admits(pin, cuda) for name, pin in build.pins.items() if name in _NUMBERED_AS_CUDA)
