"""Rules about the GPU and its driver: code for it in the wheel, in CUDA, and a driver for both.

A driver runs a CUDA natively, by minor-version compatibility, with a compatibility package, or is
too old. There is no upper bound: a newer driver runs every older CUDA build.
"""

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, confirm, refuse, warn
from dlimg.document.versions import driver_numbers, major, minor, numbers
from dlimg.facts.gpus import GpuCode, capability_of, code_for, is_older_than_all
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI, CudaFact, GpuFact, Origin, ReleaseBuild


def gpu_code(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a wheel with neither machine code for this GPU nor PTX that its driver can compile."""
    gpu, build = combination.gpu, combination.build
    if gpu is None or build is None or not build.cuda:
        return None
    below_floor = _below_floor(facts, combination, gpu)
    if below_floor is not None:
        return below_floor
    if not build.architectures:
        name = f"{combination.release_name} ({build.variant or build.package})"
        message = f"it is not known whether {name} has code for {gpu.sm}"
        return warn("gpu-code", message, build.origin.source, certain=False)
    code = code_for(build.architectures, gpu.capability)
    if code is not None:
        return _has_code(build, gpu, code)
    return _has_no_code(combination, build, gpu)


def _has_code(build: ReleaseBuild, gpu: GpuFact, code: GpuCode) -> RuleResult:
    origin = build.architectures_origin
    if code.is_ptx:
        message = f"the driver compiles {code.name} (PTX) for {gpu.name} ({gpu.sm})"
        message = f"{message}: no {gpu.sm} code in the wheel, so a first start takes minutes"
        return warn("gpu-code", message, origin.source, certain=origin.certain)
    message = f"{gpu.name} ({gpu.sm}) runs the wheel's {code.name} code"
    return confirm("gpu-code", message, origin.source, certain=origin.certain)


def _has_no_code(combination: Combination, build: ReleaseBuild, gpu: GpuFact) -> RuleResult:
    """Refuse, or warn of a newer GPU if the list's source cannot show PTX."""
    origin = build.architectures_origin
    certain = origin.certain and gpu.origin.sure_of("capability")
    message = f"{combination.release_name} for CUDA {combination.cuda} has code for"
    message = f"{message} {', '.join(build.architectures)}"
    if is_older_than_all(build.architectures, gpu.capability):
        message = f"{message}: {gpu.name} ({gpu.sm}) is older than all of it"
        return refuse("gpu-code", "runtime", message, origin.source, certain=certain)
    if not build.ptx_known:
        message = f"{message}; whether it has PTX for {gpu.name} ({gpu.sm}) is not known"
        return warn("gpu-code", message, origin.source, certain=False)
    message = f"{message}: none of it runs on {gpu.name} ({gpu.sm})"
    return refuse("gpu-code", "runtime", message, origin.source, certain=certain)


def _below_floor(facts: Facts, combination: Combination, gpu: GpuFact) -> RuleResult | None:
    """Refuse a release or a CUDA older than the first with code for so new a GPU."""
    capability = capability_of(gpu.capability)
    floors = facts.floors.get(combination.framework, ())
    for floor in sorted(floors, key=lambda row: capability_of(row.capability_from), reverse=True):
        if capability < capability_of(floor.capability_from):
            continue
        too_old = numbers(combination.version) < numbers(floor.min_version)
        too_low = numbers(combination.cuda) < numbers(floor.min_cuda)
        if (too_old or too_low) and not _runs_on(combination.build, gpu):
            message = f"{gpu.name} ({gpu.sm}) needs {combination.framework} {floor.min_version}"
            message = f"{message} or newer, built for CUDA {floor.min_cuda} or newer"
            certain = floor.origin.certain and gpu.origin.sure_of("capability")
            return refuse("gpu-code", "runtime", message, floor.origin.source, certain=certain)
    return None


def _runs_on(build: ReleaseBuild | None, gpu: GpuFact) -> bool:
    return build is not None and code_for(build.architectures, gpu.capability) is not None


def gpu_cuda(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a CUDA that has dropped this GPU: no library of it has code for the chip."""
    gpu, cuda = combination.gpu, combination.cuda
    if gpu is None or not cuda:
        return None
    fact = facts.cuda.get(cuda)
    if gpu.last_cuda and numbers(cuda) > numbers(gpu.last_cuda):
        message = f"CUDA {gpu.last_cuda} is the last for {gpu.architecture} GPUs such as {gpu.name}"
        message = f"{message} ({gpu.sm}); CUDA {cuda} has no code for it"
        origin = gpu.origin.of("last_cuda")
        return refuse("gpu-cuda", "runtime", message, origin.source, certain=origin.certain)
    if fact and fact.sm_min and capability_of(gpu.capability) < _capability(fact.sm_min):
        message = f"CUDA {cuda} begins at sm_{fact.sm_min}; {gpu.name} is {gpu.sm}"
        source = fact.origin.source_of("sm_min")
        certain = fact.origin.sure_of("sm", "sm_min") and gpu.origin.sure_of("capability")
        return refuse("gpu-cuda", "runtime", message, source, certain=certain)
    return None


def _capability(sm: str) -> tuple[int, int]:
    return int(sm[:-1]), int(sm[-1])


def gpu_driver(_facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a driver that no longer supports this GPU, or not yet.

    Not a bound on CUDA: a newer driver runs every older CUDA on the GPUs that it supports.
    """
    gpu, driver = combination.gpu, combination.driver
    if gpu is None or not driver:
        return None
    version = driver_numbers(driver)
    if gpu.last_driver and version[:1] > numbers(gpu.last_driver)[:1]:
        message = f"R{gpu.last_driver} is the last driver branch for {gpu.name} ({gpu.sm})"
        message = f"{message}: {driver} does not support it"
        origin = gpu.origin.of("last_driver")
        return refuse("gpu-driver", "runtime", message, origin.source, certain=origin.certain)
    if gpu.first_driver and version < numbers(gpu.first_driver):
        message = f"{gpu.name} ({gpu.sm}) came with driver branch R{gpu.first_driver}"
        message = f"{message}: {driver} is older"
        origin = gpu.origin.of("first_driver")
        return refuse("gpu-driver", "runtime", message, origin.source, certain=origin.certain)
    return None


def gpu_host(_facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a GPU that only comes with hosts of another CPU architecture; warn of Jetsons."""
    gpu = combination.gpu
    if gpu is None:
        return None
    if gpu.arch and gpu.arch != combination.arch:
        message = f"{gpu.name} comes with {gpu.arch} hosts only, and this is for {combination.arch}"
        origin = gpu.origin.of("arch")
        return refuse("gpu-host", "runtime", message, origin.source, certain=origin.certain)
    if gpu.kind == "jetson":
        message = f"{gpu.name} runs wheels made for JetPack; it is not known whether others run"
        return warn("gpu-host", message, gpu.origin.source, certain=False)
    return None


def gpu_unused(_facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a build without CUDA for a GPU or its driver: it would run without using them."""
    gpu, driver, release = combination.gpu, combination.driver, combination.release
    if combination.cuda or not (gpu or driver) or release is None:
        return None
    unused = gpu.name if gpu else f"a GPU with driver {driver}"
    build = combination.build
    if build is None:
        message = f"{combination.release_name} without CUDA: {unused} would not be used"
        return refuse("gpu-unused", "runtime", message, release.source)
    source = "on PyPI" if build.index == PYPI else f"as {build.variant}"
    wheel = f"the {combination.arch} wheel of {combination.release_name} {source}"
    message = f"{wheel} has no CUDA: {unused} would not be used"
    return refuse("gpu-unused", "runtime", message, build.origin.source)


def driver_cuda(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a driver that is too old to run this CUDA in any way."""
    fact, driver = facts.cuda.get(combination.cuda), combination.driver
    if fact is None or not driver:
        return None
    version = driver_numbers(driver)
    name = f"driver {driver}" if "." in driver else f"the newest driver of R{driver}"
    if fact.native_driver and version >= numbers(fact.native_driver):
        message = f"{name} supports CUDA {fact.cuda} natively (from {fact.native_driver} on)"
        return confirm("driver-cuda", message, fact.origin.source_of("drivers"))
    if version >= numbers(fact.min_driver):
        message = f"{name} runs CUDA {fact.cuda} by minor-version compatibility"
        message = f"{message} (from {fact.min_driver} on), which does not cover PTX"
        return confirm("driver-cuda", message, fact.origin.source_of("min_driver"))
    origin = fact.origin
    if not origin.sure_of("min_driver") and major(fact.cuda) in facts.majors:
        # It is not confirmed for this minor; the bound of its whole major holds for it.
        origin = facts.majors[major(fact.cuda)].origin
    return _too_old(facts, fact, combination, name, origin)


def _too_old(
    facts: Facts, fact: CudaFact, combination: Combination, name: str, origin: Origin
) -> RuleResult:
    floor = f"CUDA {fact.cuda} needs {fact.min_driver} or newer"
    package = f"cuda-compat-{fact.cuda.replace('.', '-')}"
    gpu = combination.gpu
    is_let_through = major(combination.driver) in fact.image_lets_through
    # The branches that images let through are those of data-centre GPUs.
    row = facts.forward.get(gpu.kind) if gpu and gpu.kind == "datacenter" else None
    runs_ahead = row is not None and row.forward
    if is_let_through and gpu and runs_ahead and combination.compat == "possible":
        message = f"{name} is too old ({floor}), but {gpu.name} is a data-centre GPU: with the"
        message = f"{message} package {package} in the image it runs"
        return warn("driver-cuda", message, fact.origin.source_of("image_lets_through"))
    message = f"{name} is too old: {floor}; update the driver, or take an older CUDA"
    if is_let_through and runs_ahead:
        message = f"{message}; the package {package} would help, but this image does not have it"
    elif is_let_through and gpu is not None:
        message = f"{message}; the package {package} works on data-centre GPUs only"
    narrowed = origin.of("min_driver")
    return refuse("driver-cuda", "runtime", message, narrowed.source, certain=narrowed.certain)


def driver_jit(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a driver that is older than the CUDA that made the PTX which it must compile."""
    build, gpu, driver = combination.build, combination.gpu, combination.driver
    if not driver or build is None or gpu is None:
        return None
    code = code_for(build.architectures, gpu.capability)
    if code is None or not code.is_ptx:
        return None
    compiled_by = build.built_for or combination.cuda
    fact = facts.cuda.get(minor(compiled_by))
    if fact is None:
        return None
    needed = fact.drivers.get(compiled_by) or fact.native_driver
    version = driver_numbers(driver)
    # A driver that is too old for CUDA at all is the matter of driver-cuda.
    if not needed or version < numbers(fact.min_driver):
        return None
    source = fact.origin.source_of("drivers")
    if version >= numbers(needed):
        message = f"driver {driver} compiles PTX of CUDA {compiled_by} (from {needed} on)"
        return confirm("driver-jit", message, source)
    message = f"{gpu.name} ({gpu.sm}) must have {code.name} compiled by the driver, and the PTX of"
    message = f"{message} CUDA {compiled_by} needs {needed} or newer: {driver} is minor-version"
    certain = fact.origin.sure_of("drivers") and gpu.origin.sure_of("capability")
    return refuse("driver-jit", "runtime", f"{message} compatible only", source, certain=certain)
