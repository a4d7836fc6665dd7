"""uv's reports of conflicts, as uv 0.13 writes them, told in one sentence."""

import pytest

from dlimg.lock.conflict import conflict_of

REPORTS: list[tuple[str, tuple[str, ...], str, str]] = [
    (
        (
            "Because torchvision==0.28.0 depends on torch==2.13.0 and you require "
            "torch==2.14.1, we can conclude that your requirements and torchvision==0.28.0 "
            "are incompatible. And because you require torchvision==0.28.0, we can conclude "
            "that your requirements are unsatisfiable."
        ),
        ("torch==2.14.1", "torchvision==0.28.0", "jax[cuda13]==0.12.0.1"),
        "torch",
        "torchvision==0.28.0 needs torch==2.13.0, and torch==2.14.1 is asked for",
    ),
    (
        (
            "Because tensorflow[and-cuda]==2.18.0 depends on nvidia-nvjitlink-cu12==12.5.82 "
            "and torch==2.6.0 depends on nvidia-nvjitlink-cu12==12.4.127, we can conclude "
            "that torch==2.6.0 and tensorflow[and-cuda]==2.18.0 are incompatible."
        ),
        ("torch==2.6.0", "tensorflow[and-cuda]==2.18.0"),
        "nvidia-nvjitlink-cu12",
        (
            "tensorflow[and-cuda]==2.18.0 needs nvidia-nvjitlink-cu12==12.5.82, and "
            "torch==2.6.0 needs nvidia-nvjitlink-cu12==12.4.127"
        ),
    ),
    (
        (
            "Because tensorflow==2.15.0 depends on numpy>=1.23.5,<2.0.0 and you require "
            "tensorflow==2.15.0, we can conclude that you require numpy>=1.23.5,<2.0.0. And "
            "because you require numpy==2.0.0, we can conclude that your requirements are "
            "unsatisfiable."
        ),
        ("tensorflow==2.15.0", "numpy==2.0.0"),
        "numpy",
        "tensorflow==2.15.0 needs numpy>=1.23.5,<2.0.0, and numpy==2.0.0 is asked for",
    ),
    (
        (
            "Because vllm==0.8.0 depends on transformers>=4.48.2 and you require "
            "vllm==0.8.0, we can conclude that you require transformers>=4.48.2. And "
            "because you require transformers==4.30.0, we can conclude that your "
            "requirements are unsatisfiable."
        ),
        ("vllm==0.8.0", "transformers==4.30.0"),
        "transformers",
        "vllm==0.8.0 needs transformers>=4.48.2, and transformers==4.30.0 is asked for",
    ),
    (
        (
            "Because only torch<=2.6.0 is available and torch==2.6.0 depends on "
            "sympy==1.13.1, we can conclude that torch>=2.6.0 depends on sympy==1.13.1. And "
            "because accelerate==1.0 depends on torch>=2.6.0 and you require "
            "accelerate==1.0, and sympy==1.12."
        ),
        ("accelerate==1.0", "sympy==1.12"),
        "sympy",
        ("accelerate==1.0 (by torch==2.6.0) needs sympy==1.13.1, and sympy==1.12 is asked for"),
    ),
    (
        (
            "Because tensorflow==2.15.1 depends on numpy>=1.23.5,<2.0.0 and you require "
            "tensorflow==2.15.1, we can conclude that you require numpy>=1.23.5,<2.0.0. And "
            "because you require numpy>=2, we can conclude that your requirements are "
            "unsatisfiable."
        ),
        ("tensorflow==2.15.1", "numpy>=2"),
        "numpy",
        "tensorflow==2.15.1 needs numpy>=1.23.5,<2.0.0, and numpy>=2 is asked for",
    ),
    (
        (
            "Because all versions of jieba have no usable wheels and you require jieba, we can "
            "conclude that your requirements are unsatisfiable."
        ),
        ("jieba", "torch==2.6.0"),
        "jieba",
        "jieba has no wheel on the package index",
    ),
    (
        (
            "Because nosuchpackage was not found in the package registry and you require "
            "nosuchpackage==1.0, we can conclude that your requirements are unsatisfiable."
        ),
        ("torch==2.6.0", "nosuchpackage==1.0"),
        "nosuchpackage",
        "nosuchpackage is not on the package index",
    ),
    (
        (
            "Because there is no version of torch==2.99.0 and you require torch==2.99.0, we "
            "can conclude that your requirements are unsatisfiable."
        ),
        ("torch==2.99.0", "numpy"),
        "torch",
        "torch==2.99.0 is not on the package index",
    ),
    (
        (
            "Because torch==1.13.1 has no wheels with a matching Python ABI tag (e.g., "
            "`cp312`) and you require torch==1.13.1, we can conclude that your requirements "
            "are unsatisfiable."
        ),
        ("torch==1.13.1", "numpy"),
        "torch",
        "torch==1.13.1 has no wheel for this Python and platform",
    ),
    (
        (
            "Because tensorrt==8.6.1.post1 has no usable wheels and "
            "tensorflow[and-cuda]==2.15.0 depends on tensorrt==8.6.1.post1, we can conclude "
            "that tensorflow[and-cuda]==2.15.0 cannot be used."
        ),
        ("tensorflow[and-cuda]==2.15.0", "numpy"),
        "tensorrt",
        (
            "tensorflow[and-cuda]==2.15.0 needs tensorrt==8.6.1.post1, which has no wheel "
            "on the package index"
        ),
    ),
]


@pytest.mark.parametrize(("report", "requirements", "package", "message"), REPORTS)
def test_a_report_becomes_one_sentence(
    report: str, requirements: tuple[str, ...], package: str, message: str
) -> None:
    conflict = conflict_of(report, requirements)
    assert conflict is not None
    assert (conflict.package, conflict.message) == (package, message)
    assert set(conflict.requirements) <= set(requirements)


def test_the_version_that_would_fit() -> None:
    report, requirements = REPORTS[0][:2]
    conflict = conflict_of(report, requirements)
    assert conflict is not None
    assert conflict.fitting == "2.13.0"


@pytest.mark.parametrize("report", ["", "no idea", "because a depends on b and c depends on d"])
def test_a_report_that_says_nothing_known(report: str) -> None:
    assert conflict_of(report, ("torch==2.6.0", "jax==0.7.0")) is None
