"""cuDNN as an axis: which of a stack's versions a framework takes, and which are forced."""

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, refuse
from dlimg.compat.rules_cudnn import cudnn_build
from dlimg.document.versions import begins_with
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI, ReleaseBuild
from dlimg.matrix.model import (
    CUDNN,
    LEADER,
    NO_CUDNN,
    AxisValues,
    CellSelector,
    CudnnOverride,
    Family,
    Matrix,
    StackChoice,
)
from dlimg.model import CPU, Stack


def is_chosen(cudnn: str) -> bool:
    """Return whether this value of the axis is a version, which the leader need not take."""
    return cudnn not in {LEADER, NO_CUDNN}


def cudnn_choices(matrix: Matrix, accelerator: str) -> tuple[str, ...]:
    """Return the values of the axis on an accelerator."""
    return (NO_CUDNN,) if accelerator == CPU else matrix.stacks[accelerator].cudnn


def pinning_build(
    facts: Facts, matrix: Matrix, framework: str, version: str, cuda: str
) -> ReleaseBuild | None:
    """Return the package index's build of a release for a CUDA if it pins one exact cuDNN."""
    release = facts.releases.get(framework, {}).get(version)
    builds = release.builds_for(cuda, matrix.arch) if release else ()
    on_pypi = (build for build in builds if build.index == PYPI)
    return next((build for build in on_pypi if build.cudnn[:1].isdigit()), None)


def is_leaders(choice: StackChoice, cudnn: str, pin: str) -> bool:
    """Return whether this is the cuDNN of the leader, which `pin`s one exactly or is empty.

    Where the leader takes a range, the list's `leader`, or else its first version, stands for it.
    """
    if cudnn == LEADER:
        return True
    if pin:
        return begins_with(pin, cudnn)
    return LEADER not in choice.cudnn and cudnn == choice.cudnn[0]


def refused_cudnn(facts: Facts, combination: Combination, cudnn: str) -> RuleResult | None:
    """Refuse a cuDNN that the build cannot load, or that its range of versions excludes."""
    if not is_chosen(cudnn):
        return None
    result = cudnn_build(facts, combination._replace(cudnn=cudnn))
    return result if result is not None and result.level == "refusal" else None


def refused_pin(
    facts: Facts, matrix: Matrix, family: Family, axis_values: AxisValues
) -> RuleResult | None:
    """Refuse a cuDNN other than the exact pin of the framework's wheel; an override lifts it."""
    cudnn = axis_values[CUDNN]
    if not is_chosen(cudnn):
        return None
    version, cuda = axis_values["version"], matrix.stacks[axis_values["accelerator"]].cuda
    build = pinning_build(facts, matrix, family.framework, version, cuda)
    if build is None or begins_with(build.cudnn, cudnn):
        return None
    message = (
        f"{family.framework} {version} pins cuDNN {build.cudnn} in its wheel's metadata, so no "
        f"resolver installs {cudnn}; an entry under `override` of the family forces it"
    )
    return refuse("cudnn-pin", "install", message, build.origin.source)


def override_of(
    facts: Facts, matrix: Matrix, family: Family, axis_values: AxisValues
) -> CudnnOverride | None:
    """Return the override that forces this combination's cuDNN, if it needs one.

    Nothing is known of a release without facts: there every override that fits holds.
    """
    if not is_chosen(axis_values[CUDNN]):
        return None
    is_known = axis_values["version"] in facts.releases.get(family.framework, {})
    if is_known and refused_pin(facts, matrix, family, axis_values) is None:
        return None
    fitting = (override for override in family.overrides if override.match.fits(axis_values))
    return next(fitting, None)


def alias_fits(match: CellSelector, axis_values: AxisValues, stack: Stack | None) -> bool:
    """Return whether an alias means this cell; it means the leader's cuDNN if it names none."""
    is_other = stack is not None and stack.other_cudnn
    return match.fits(axis_values) and (CUDNN in match.values or not is_other)
