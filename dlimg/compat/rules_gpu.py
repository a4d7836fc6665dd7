"""Rules about the GPU itself: code for it in the wheel, in CUDA, and a driver that drives it."""

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, against, support, warning
from dlimg.document.versions import driver_numbers, numbers
from dlimg.facts.gpu_code import GpuCode, capability_of, is_older_than_all, runs
from dlimg.facts.load import Facts
from dlimg.facts.model import GpuFact, ReleaseBuild


def gpu_code(facts: Facts, one: Combination) -> RuleResult | None:
    """The wheel holds no machine code that this GPU runs, and no PTX to make some from."""
    gpu, build = one.gpu, one.build
    if gpu is None or build is None or not build.cuda:
        return None
    floor = _below_floor(facts, one, gpu)
    if floor is not None:
        return floor
    if not build.architectures:
        return _unseen(one, build, gpu)
    found = runs(build.architectures, gpu.capability)
    if found is not None:
        return _runs(build, gpu, found)
    return _no_code(one, build, gpu)


def _runs(build: ReleaseBuild, gpu: GpuFact, found: GpuCode) -> RuleResult:
    source, sure = build.architectures_origin.source, build.architectures_origin.certain
    if found.is_ptx:
        message = f"the driver compiles {found.name} (PTX) for {gpu.name} ({gpu.sm})"
        message = f"{message}: no {gpu.sm} code in the wheel, so a first start takes minutes"
        return warning("gpu-code", message, source, certain=sure)
    message = f"{gpu.name} ({gpu.sm}) runs the wheel's {found.name} code"
    return support("gpu-code", message, source, certain=sure)


def _no_code(one: Combination, build: ReleaseBuild, gpu: GpuFact) -> RuleResult:
    """Nothing in the list fits. Where the list shows no PTX, a newer GPU may still have some."""
    origin = build.architectures_origin
    sure = origin.certain and gpu.origin.sure_of("capability")
    held = ", ".join(build.architectures)
    message = f"{one.framework} {one.version} for CUDA {one.cuda} has code for {held}"
    if is_older_than_all(build.architectures, gpu.capability):
        message = f"{message}: {gpu.name} ({gpu.sm}) is older than all of it"
        return against("gpu-code", "runtime", message, origin.source, certain=sure)
    if not build.ptx_known:
        message = f"{message}; whether it holds PTX for {gpu.name} ({gpu.sm}) was not looked at"
        return warning("gpu-code", message, origin.source, certain=False)
    message = f"{message}: none of it runs on {gpu.name} ({gpu.sm})"
    return against("gpu-code", "runtime", message, origin.source, certain=sure)


def _unseen(one: Combination, build: ReleaseBuild, gpu: GpuFact) -> RuleResult:
    what = build.variant or build.package
    message = f"nobody has looked into {one.framework} {one.version} ({what}) for {gpu.sm} code"
    return warning("gpu-code", message, build.origin.source, certain=False)


def _below_floor(facts: Facts, one: Combination, gpu: GpuFact) -> RuleResult | None:
    """The first release and CUDA that have code for so new a GPU."""
    here = capability_of(gpu.capability)
    floors = facts.floors.get(one.framework, ())
    for floor in sorted(floors, key=lambda row: capability_of(row.capability_from), reverse=True):
        if here < capability_of(floor.capability_from):
            continue
        too_old = numbers(one.version) < numbers(floor.min_version)
        too_low = numbers(one.cuda) < numbers(floor.min_cuda)
        if (too_old or too_low) and not _has_cubin(one.build, gpu):
            message = f"{gpu.name} ({gpu.sm}) needs {one.framework} {floor.min_version}"
            message = f"{message} or newer, built for CUDA {floor.min_cuda} or newer"
            sure = floor.origin.certain and gpu.origin.sure_of("capability")
            return against("gpu-code", "runtime", message, floor.origin.source, certain=sure)
    return None


def _has_cubin(build: ReleaseBuild | None, gpu: GpuFact) -> bool:
    found = runs(build.architectures, gpu.capability) if build else None
    return found is not None


def gpu_cuda(facts: Facts, one: Combination) -> RuleResult | None:
    """CUDA itself has dropped this GPU: no library of it has code for the chip."""
    gpu, cuda = one.gpu, one.cuda
    if gpu is None or not cuda:
        return None
    fact = facts.cuda.get(cuda)
    if gpu.last_cuda and numbers(cuda) > numbers(gpu.last_cuda):
        message = f"CUDA {gpu.last_cuda} is the last for {gpu.architecture} GPUs such as {gpu.name}"
        message = f"{message} ({gpu.sm}); CUDA {cuda} has no code for it"
        origin = gpu.origin
        source, sure = origin.source_of("last_cuda"), origin.sure_of("last_cuda")
        return against("gpu-cuda", "runtime", message, source, certain=sure)
    if fact and fact.sm_min and capability_of(gpu.capability) < _capability(fact.sm_min):
        message = f"CUDA {cuda} begins at sm_{fact.sm_min}; {gpu.name} is {gpu.sm}"
        source = fact.origin.source_of("sm_min")
        sure = fact.origin.sure_of("sm", "sm_min") and gpu.origin.sure_of("capability")
        return against("gpu-cuda", "runtime", message, source, certain=sure)
    return None


def _capability(sm: str) -> tuple[int, int]:
    return int(sm[:-1]), int(sm[-1])


def gpu_driver(_facts: Facts, one: Combination) -> RuleResult | None:
    """The driver no longer drives this GPU, or does not know it yet.

    Not a bound on CUDA: a newer driver runs every older CUDA on the GPUs that it drives.
    """
    gpu, driver = one.gpu, one.driver
    if gpu is None or not driver:
        return None
    here, origin = driver_numbers(driver), gpu.origin
    if gpu.last_driver and here[:1] > numbers(gpu.last_driver)[:1]:
        message = f"R{gpu.last_driver} is the last driver branch for {gpu.name} ({gpu.sm})"
        message = f"{message}: {driver} does not drive it"
        source, sure = origin.source_of("last_driver"), origin.sure_of("last_driver")
        return against("gpu-driver", "runtime", message, source, certain=sure)
    if gpu.first_driver and here < numbers(gpu.first_driver):
        message = f"{gpu.name} ({gpu.sm}) came with driver branch R{gpu.first_driver}"
        message = f"{message}: {driver} is older"
        source, sure = origin.source_of("first_driver"), origin.sure_of("first_driver")
        return against("gpu-driver", "runtime", message, source, certain=sure)
    return None


def gpu_host(_facts: Facts, one: Combination) -> RuleResult | None:
    """What only fits a certain host: its machine, or wheels of its own."""
    gpu = one.gpu
    if gpu is None:
        return None
    if gpu.machine and gpu.machine != one.machine:
        message = f"{gpu.name} sits in an {gpu.machine} host, and this is for {one.machine}"
        source, sure = gpu.origin.source_of("machine"), gpu.origin.sure_of("machine")
        return against("gpu-host", "runtime", message, source, certain=sure)
    if gpu.kind == "jetson":
        message = f"{gpu.name} runs wheels made for JetPack; nobody has confirmed that others run"
        return warning("gpu-host", message, gpu.origin.source, certain=False)
    return None
