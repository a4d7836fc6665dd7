"""All rules in one table: the id that an answer gives, the axes that a rule reads, its function.

A rule reads nothing but the axes it names: that is what lets one judge many combinations fast.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final, Literal, TypeAlias

from dlimg.choose import rules_cudnn, rules_driver, rules_gpu, rules_image, rules_life, rules_wheel
from dlimg.choose.combination import Combination
from dlimg.choose.facts import Facts
from dlimg.choose.reason import Reason

Speak: TypeAlias = Callable[[Facts, Combination], Reason | None]
Axis: TypeAlias = Literal[
    "framework",
    "version",
    "package",
    "release",
    "build",
    "cuda",
    "cudnn",
    "python",
    "distribution",
    "gpu",
    "driver",
    "machine",
    "platform",
    "flavour",
    "wheels",
    "compat",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`speak` may look at the axes in `reads` alone."""

    id: str
    reads: tuple[Axis, ...]
    speak: Speak


def _rule(name: str, speak: Speak, *reads: Axis) -> Rule:
    return Rule(id=name, reads=reads, speak=speak)


def rules(today: date) -> tuple[Rule, ...]:
    """Every rule; those about ends of life need to know the day."""
    wheel, gpu, driver = rules_wheel, rules_gpu, rules_driver
    cudnn, image, life = rules_cudnn, rules_image, rules_life
    return (
        _rule("package-name", wheel.package_name, "release", "package", "build", "cuda", "gpu"),
        _rule("python-wheel", wheel.python_wheel, "release", "build", "python"),
        _rule("platform-tag", wheel.platform_tag, "release", "distribution", "platform"),
        _rule("locked-wheels", wheel.locked_wheels, "wheels", "python", "distribution", "machine"),
        _rule(
            "cuda-build",
            wheel.cuda_build,
            *("release", "build", "cuda", "package", "machine", "gpu", "driver", "wheels"),
        ),
        _rule("cuda-index", wheel.cuda_index, "release", "build", "machine"),
        _rule("python-source", image.python_source, "python", "distribution"),
        _rule("base-image", image.base_image, "release", "build", "cuda", "distribution"),
        _rule("compiler-wheel", image.compiler_wheel, "flavour", "cuda"),
        _rule("gpu-host", gpu.gpu_host, "gpu", "machine"),
        _rule("gpu-code", gpu.gpu_code, "release", "build", "cuda", "gpu"),
        _rule("gpu-cuda", gpu.gpu_cuda, "cuda", "gpu"),
        _rule("gpu-driver", gpu.gpu_driver, "gpu", "driver"),
        _rule("driver-cuda", driver.driver_cuda, "cuda", "gpu", "driver", "compat"),
        _rule("driver-jit", driver.driver_jit, "build", "cuda", "gpu", "driver"),
        _rule("cudnn-build", cudnn.cudnn_build, "release", "build", "cuda", "cudnn"),
        _rule("cudnn-gpu", cudnn.cudnn_gpu, "build", "cuda", "cudnn", "gpu"),
        _rule("cudnn-cuda", cudnn.cudnn_cuda, "cuda", "cudnn"),
        _rule("python-life", partial(life.python_life, today), "python"),
        _rule("system-life", partial(life.system_life, today), "distribution"),
    )


# Those that are about an image alone, whatever it will run on.
OF_AN_IMAGE: Final = frozenset(
    ("python-wheel", "cuda-build", "platform-tag", "python-source", "compiler-wheel")
)
