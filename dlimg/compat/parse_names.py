"""The names that people use -> those of the facts. Every refusal has the nearest right spelling."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from dlimg.document.versions import begins, newest, numbers
from dlimg.errors import BadInput, nearest
from dlimg.facts.load import Facts
from dlimg.facts.model import AARCH64, X86_64, Distribution

CPU: Final = "cpu"
FRAMEWORKS: Final = {
    "torch": "torch",
    "pytorch": "torch",
    "tensorflow": "tensorflow",
    "tf": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "tensorflow-cpu": "tensorflow",
    "jax": "jax",
    "jaxlib": "jax",
}
_MACHINES: Final = {
    **dict.fromkeys(("x86_64", "amd64", "x64", "x86-64", "intel64"), X86_64),
    **dict.fromkeys(("aarch64", "arm64", "armv8", "sbsa"), AARCH64),
}
_REQUIREMENT: Final = re.compile(
    r"(?P<name>[a-z]+(?:-[a-z]+)*)(?:\[(?P<extra>[a-z0-9_-]*)\])?"
    r"(?:(?:\s*===?\s*|\s*[=@:]\s*|\s+|-)?"
    r"v?(?P<version>[0-9][0-9a-z.]*)(?:\+(?P<local>[a-z0-9.]+))?)?"
)
_DRIVER: Final = re.compile(r"r?(?P<number>[0-9]{3}(?:\.[0-9]{1,3}){0,2})")
_PYTHON: Final = re.compile(
    r"(?:py|python|cp|cpython)?[ -]?(?P<major>[23])\.?(?P<minor>[0-9]+)"
    r"(?P<patch>\.[0-9]+)?(?P<free>t?)"
)
_CUDA: Final = re.compile(r"(?:cuda|cu)?[ -]?(?P<number>[0-9]+(?:\.[0-9]+)*)")


class ParsedRequirement(NamedTuple):
    """A framework, the package for it, a version (empty: the newest), a CUDA said with it."""

    framework: str
    package: str
    version: str
    cuda: str


def requirement_named(text: str) -> ParsedRequirement:
    """`torch==2.6.0`, `pytorch 2.6`, `tf2.15`, `jax[cuda12]==0.4.30`, `torch==2.6.0+cu124`.

    Raises BadInput for a framework that no fact speaks of, and for a range of versions.
    """
    words = text.strip().lower()
    if re.search(r"[<>~!,*]", words):
        hint = "name one version, e.g. torch==2.6.0"
        raise BadInput(f"{text!r} is a range of versions, not one", hint=hint)
    found = _REQUIREMENT.fullmatch(words)
    if not found:
        raise BadInput(f"{text!r} is no requirement", hint="write e.g. torch==2.6.0")
    name, extra = found["name"], found["extra"] or ""
    if name not in FRAMEWORKS:
        raise BadInput(f"no facts about {name!r}", hint=nearest(name, FRAMEWORKS))
    said = found["local"] or _extra_named(text, extra)
    package = name if name in ("tensorflow-gpu", "tensorflow-cpu") else ""
    return ParsedRequirement(FRAMEWORKS[name], package, found["version"] or "", said)


def _extra_named(text: str, extra: str) -> str:
    """`cuda12` of `cuda12_local`, `cpu`; raises BadInput for what runs on no NVIDIA GPU."""
    if re.match(r"tpu|rocm|k8s", extra):
        hint = "jax[cuda12], jax[cuda13] and jax[cpu] can be asked for"
        raise BadInput(f"no facts about the {extra} of {text!r}", hint=hint)
    found = re.match(r"cuda[0-9]*|cpu$", extra)
    return found[0] if found and found[0] != "cuda" else ""


def version_named(facts: Facts, framework: str, text: str) -> str:
    """The release that is meant: `2.6` is 2.6.0 where there is one, else the newest of 2.6.

    Raises BadInput with the nearest, and with the first and the last that the facts have.
    """
    known = facts.releases.get(framework, {})
    if not text:
        return newest(version for version in known if re.fullmatch(r"[0-9.]+", version))
    for version in (text, f"{text}.0"):
        if version in known:
            return version
    fitting = [version for version in known if begins(version, text)]
    if fitting:
        return newest(fitting)
    ordered = sorted(known, key=numbers)
    span = f"they have {ordered[0]} to {ordered[-1]}" if ordered else "they have none"
    hint = f"{span}; nearest: {', '.join(_around(known, text))}"
    raise BadInput(f"no facts about {framework} {text}", hint=hint)


def _around(known: Iterable[str], text: str) -> list[str]:
    """The two on each side of a version that is not there, the older first."""
    ordered = sorted(known, key=numbers)
    older = [version for version in ordered if numbers(version) < numbers(text)]
    return [*older[-2:][::-1], *ordered[len(older) :][:2]]


def cuda_named(facts: Facts, text: str) -> str:
    """`cpu`, a major (`12`) or a minor (`12.4`) of `cu124`, `12.4.1`, `CUDA 12.4`."""
    words = text.strip().lower()
    if words in (CPU, "none", "no"):
        return CPU
    found = _CUDA.fullmatch(words)
    if not found:
        raise BadInput(f"{text!r} is no CUDA", hint="write e.g. 12.4, cu124 or cpu")
    number = _undotted(found["number"])
    if number != found["number"] and number not in facts.cuda and words == found["number"]:
        number = words  # 99 is no 9.9
    parts = number.split(".")
    if len(parts) == 1 and any(begins(one, parts[0]) for one in facts.cuda):
        return parts[0]
    minor = ".".join(parts[:2])
    if minor not in facts.cuda:
        hint = f"nearest: {', '.join(_around(facts.cuda, minor))}"
        raise BadInput(f"no facts about CUDA {minor}", hint=hint)
    return minor


def _undotted(number: str) -> str:
    """`12.4` of `124`; `92` is 9.2."""
    if "." in number or len(number) < 2 or (len(number) == 2 and number[0] == "1"):
        return number
    return f"{number[:-1]}.{number[-1]}"


def cudnn_named(text: str) -> str:
    """`9` of `cudnn9`, `9.1.0`; the digits as they are."""
    found = re.fullmatch(r"(?:cudnn)?[ -]?v?([0-9]+(?:\.[0-9]+){0,3})", text.strip().lower())
    if not found:
        raise BadInput(f"{text!r} is no cuDNN", hint="write e.g. 9 or 9.1.0")
    return found[1]


def driver_named(text: str) -> str:
    """`550.54.15`, or a whole branch: `550` of `R550`."""
    words = re.sub(r"^(?:nvidia-)?driver[- ]", "", text.strip().lower())
    found = _DRIVER.fullmatch(words)
    if not found:
        hint = "write it as nvidia-smi shows it, e.g. 550.54.15, or a branch such as 550"
        raise BadInput(f"{text!r} is no driver", hint=hint)
    return found["number"]


def python_named(facts: Facts, text: str) -> str:
    """`3.12` of `py3.12`, `cp312`, `3.12.4`; `3.13t` is the one without the lock."""
    found = _PYTHON.fullmatch(text.strip().lower())
    python = f"{found['major']}.{found['minor']}" if found else ""
    if not found or python not in facts.pythons:
        known = sorted(facts.pythons, key=numbers)
        hint = nearest(text, known) if found else f"write e.g. {known[-1] if known else '3.13'}"
        raise BadInput(f"no facts about Python {text}", hint=hint)
    return f"{python}{found['free']}"


def system_named(facts: Facts, text: str) -> Distribution:
    """`Ubuntu 24.04` of `ubuntu24.04`, `ubuntu:noble`, `noble`; `RHEL/Rocky 8` of `rocky8`."""
    words = _one_word(text)
    if words.startswith(("win", "mac", "darwin", "osx", "wsl")):
        hint = "name the Linux inside: on Windows that of WSL 2, e.g. ubuntu24.04"
        raise BadInput(f"images are Linux, {text!r} is not", hint=hint)
    names = {name: one for one in facts.distributions.values() for name in system_names(one)}
    found = names.get(words) or names.get(re.sub(r"^(ubuntu|debian)(?=[a-z])", "", words))
    # A point release of a distribution that is known by its major alone: `alpine3.20`, `rocky8.9`.
    found = found or names.get(re.sub(r"\.[0-9.]+$", "", words))
    if found is None:
        hint = nearest(words, names)
        raise BadInput(f"no facts about the operating system {text!r}", hint=hint)
    return found


def _one_word(text: str) -> str:
    return re.sub(r"[ :_/-]|linux", "", text.strip().lower())


def system_names(one: Distribution) -> tuple[str, ...]:
    """Every plain way to write it."""
    vendors, _, number = one.distribution.lower().rpartition(" ")
    found = [one.codename.lower()] if one.codename.isalpha() else []
    for vendor in map(_one_word, vendors.split("/")):
        found += [f"{vendor}{number}", f"{vendor}{number.replace('.', '')}"]
        if vendor == "alpine":
            found.append(vendor)
        if vendor == "rocky":
            # The same C library and Python, under another name.
            found += [f"rhel{number}", f"alma{number}", f"ubi{number}", f"oracle{number}"]
    return tuple(found)


def machine_named(text: str) -> str:
    """`x86_64` of `amd64`, `aarch64` of `arm64`."""
    words = text.strip().lower().removeprefix("linux/")
    if words not in _MACHINES:
        raise BadInput(f"no facts about the machine {text!r}", hint=nearest(words, _MACHINES))
    return _MACHINES[words]
