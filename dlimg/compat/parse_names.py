"""Parsers of names in the spellings that people use; errors have the nearest spelling."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from dlimg.document.versions import begins_with, newest, numbers
from dlimg.errors import BadInput, nearest
from dlimg.facts.load import ONLY_NVIDIA, Facts
from dlimg.facts.model import AARCH64, X86_64, Distribution, FrameworkPackage

CPU: Final = "cpu"
_ARCHES: Final = {
    **dict.fromkeys(("x86_64", "amd64", "x64", "x86-64", "intel64"), X86_64),
    **dict.fromkeys(("aarch64", "arm64", "armv8", "sbsa"), AARCH64),
}
_REQUIREMENT: Final = re.compile(
    r"(?P<name>[a-z]+(?:-[a-z]+)*)\s*(?:\[(?P<extras>[a-z0-9_,\s-]*)\])?"
    r"(?:(?:\s*===?\s*|\s*[=@:]\s*|\s+|-)?"
    r"v?(?P<version>[0-9][0-9a-z.]*)(?:\+(?P<local>[a-z0-9.]+))?)?"
)
_DRIVER: Final = re.compile(r"r?(?P<number>[0-9]{3}(?:\.[0-9]{1,3}){0,2})")
_PYTHON: Final = re.compile(
    r"(?:py|python|cp|cpython)?[ -]?(?P<major>[23])\.?(?P<minor>[0-9]+)"
    r"(?P<patch>\.[0-9]+)?(?P<free>t?)"
)
_CUDA: Final = re.compile(r"(?:cuda|cu)?[ -]?(?P<number>[0-9]+(?:\.[0-9]+)*)")


# Words for the platforms of other makers, at the beginning of an extra, a local version or an
# accelerator: `rocm6.4`, `tpu`.
_OTHER_PLATFORMS: Final = {
    "rocm": "AMD's platform",
    "hip": "AMD's platform",
    "amd": "AMD's platform",
    "radeon": "AMD's platform",
    "gfx": "AMD's platform",
    "tpu": "Google's TPU",
    "libtpu": "Google's TPU",
    "xla": "Google's TPU",
    "xpu": "Intel's platform",
    "oneapi": "Intel's platform",
    "sycl": "Intel's platform",
    "intel": "Intel's platform",
    "hpu": "Intel's Gaudi",
    "gaudi": "Intel's Gaudi",
    "habana": "Intel's Gaudi",
    "npu": "an NPU, such as Huawei's Ascend",
    "ascend": "Huawei's Ascend",
    "cann": "Huawei's Ascend",
    "mps": "Apple's platform",
    "metal": "Apple's platform",
    "apple": "Apple's platform",
    "mlu": "Cambricon's platform",
    "musa": "Moore Threads' platform",
    "dcu": "Hygon's platform",
    "neuron": "AWS's platform",
    "trn": "AWS's platform",
    "vulkan": "no platform of these frameworks' wheels",
    "opencl": "no platform of these frameworks' wheels",
}


def other_platform(name: str) -> str:
    """Return the maker of the platform that a name is for, or an empty text for CUDA."""
    prefix = re.match(r"[a-z]+", name.strip().lower())
    return _OTHER_PLATFORMS.get(prefix[0], "") if prefix else ""


class ParsedRequirement(NamedTuple):
    """A framework, another package of it, a version (empty: the newest), a CUDA named with it.

    `wants_cuda`: an extra asks for the build with CUDA (`and-cuda`).
    """

    framework: str
    package: FrameworkPackage | None
    version: str
    cuda: str
    wants_cuda: bool = False


def parse_requirement(facts: Facts, text: str) -> ParsedRequirement:
    """Parse `torch==2.6.0`, `pytorch 2.6`, `tf2.15`, `jax[cuda12]==0.4.30`, `torch==2.6.0+cu124`.

    Raises BadInput for a framework without facts, for a range of versions, and for what is said
    beside them: an address, a marker.
    """
    refuse_marker(text)
    lower = text.strip().lower()
    if re.search(r"[<>~!,*]", re.sub(r"\[[^\]]*\]", "", lower)):
        hint = "name one version, e.g. torch==2.6.0"
        raise BadInput(f"{text!r} is a range of versions, not one", hint=hint)
    match = _REQUIREMENT.fullmatch(lower)
    if not match:
        raise BadInput(f"{text!r} is no requirement", hint="write e.g. torch==2.6.0")
    name, names = match["name"], facts.framework_names
    if name not in names:
        raise BadInput(f"no facts about {name!r}", hint=nearest(name, names))
    extras = [extra.strip() for extra in (match["extras"] or "").split(",")]
    cuda = match["local"] or _cuda_of_extras(text, name, extras)
    return ParsedRequirement(
        framework=names[name],
        package=facts.packages.get(name),
        version=match["version"] or "",
        cuda=cuda,
        wants_cuda=any(re.match(r"(?:and-)?cuda", extra) for extra in extras),
    )


def refuse_marker(text: str) -> None:
    """Raise BadInput for a requirement with an address or a marker: `torch==2.6.0; ...`."""
    if ";" in text:
        hint = "leave the marker out, and name the Python with --python"
        raise BadInput(f"{text!r} has a marker, which is not read", hint=hint)
    if "://" in text:
        hint = "name a version instead, e.g. torch==2.6.0"
        raise BadInput(f"{text!r} names an address, which is not asked", hint=hint)


def _cuda_of_extras(text: str, name: str, extras: Iterable[str]) -> str:
    """Return the accelerator that extras name together. Raises BadInput for two."""
    cudas = {cuda for extra in extras for cuda in [_cuda_of_extra(text, name, extra)] if cuda}
    if len(cudas) > 1:
        message = f"{text!r} asks for {' and '.join(sorted(cudas))} at once"
        raise BadInput(message, hint="name one of them")
    return cudas.pop() if cudas else ""


def _cuda_of_extra(text: str, name: str, extra: str) -> str:
    """Return `cuda12` of `cuda12_local`, `cpu`; raise BadInput for other accelerators."""
    hint = f"{name}[cuda12], {name}[cuda13] and {name}[cpu] can be asked for"
    if other_platform(extra):
        message = f"{extra} in {text!r} is {other_platform(extra)}: {ONLY_NVIDIA}"
        raise BadInput(message, hint=hint)
    match = re.match(r"cuda[0-9]*|cpu$", extra)
    return match[0] if match and match[0] != "cuda" else ""


def parse_version(facts: Facts, framework: str, text: str) -> str:
    """Return a release: `2.6` is 2.6.0 if that exists, else the newest of 2.6.

    Raises BadInput with the nearest, and with the first and the last that the facts have.
    """
    releases = facts.releases.get(framework, {})
    if not text:
        return newest(version for version in releases if re.fullmatch(r"[0-9.]+", version))
    for version in (text, f"{text}.0"):
        if version in releases:
            return version
    fitting = [version for version in releases if begins_with(version, text)]
    if fitting:
        return newest(fitting)
    ordered = sorted(releases, key=numbers)
    span = f"they have {ordered[0]} to {ordered[-1]}" if ordered else "they have none"
    hint = f"{span}; nearest: {', '.join(_neighbours(releases, text))}"
    raise BadInput(f"no facts about {framework} {text}", hint=hint)


def _neighbours(versions: Iterable[str], text: str) -> list[str]:
    """Return the two versions on each side of an unknown one, the older first."""
    ordered = sorted(versions, key=numbers)
    older = [version for version in ordered if numbers(version) < numbers(text)]
    return [*older[-2:][::-1], *ordered[len(older) :][:2]]


def parse_cuda(facts: Facts, text: str) -> str:
    """Return `cpu`, a major (`12`) or a minor (`12.4`) of `cu124`, `12.4.1`, `CUDA 12.4`."""
    lower = text.strip().lower()
    if lower in (CPU, "none", "no"):
        return CPU
    match = _CUDA.fullmatch(lower)
    if other_platform(lower):
        message = f"{text!r} is {other_platform(lower)}: {ONLY_NVIDIA}"
        raise BadInput(message, hint="write e.g. 12.4, cu124 or cpu")
    if not match:
        raise BadInput(f"{text!r} is no CUDA", hint="write e.g. 12.4, cu124 or cpu")
    number = _with_dot(match["number"])
    if number != match["number"] and number not in facts.cuda and lower == match["number"]:
        number = lower  # 99 is no 9.9
    parts = number.split(".")
    if len(parts) == 1 and any(begins_with(cuda, parts[0]) for cuda in facts.cuda):
        return parts[0]
    minor = ".".join(parts[:2])
    if minor not in facts.cuda:
        hint = f"nearest: {', '.join(_neighbours(facts.cuda, minor))}"
        raise BadInput(f"no facts about CUDA {minor}", hint=hint)
    return minor


def _with_dot(number: str) -> str:
    """Return `12.4` of `124`; `92` is 9.2."""
    if "." in number or len(number) < 2 or (len(number) == 2 and number[0] == "1"):
        return number
    return f"{number[:-1]}.{number[-1]}"


def parse_cudnn(text: str) -> str:
    """Return `9` of `cudnn9`, `9.1.0`; the digits as they are."""
    match = re.fullmatch(r"(?:cudnn)?[ -]?v?([0-9]+(?:\.[0-9]+){0,3})", text.strip().lower())
    if not match:
        raise BadInput(f"{text!r} is no cuDNN", hint="write e.g. 9 or 9.1.0")
    return match[1]


def parse_driver(text: str) -> str:
    """Return `550.54.15`, or a whole branch: `550` of `R550`."""
    lower = re.sub(r"^(?:nvidia-)?driver[- ]", "", text.strip().lower())
    match = _DRIVER.fullmatch(lower)
    if not match:
        hint = "write it as nvidia-smi shows it, e.g. 550.54.15, or a branch such as 550"
        raise BadInput(f"{text!r} is no driver", hint=hint)
    return match["number"]


def parse_python(facts: Facts, text: str) -> str:
    """Return `3.12` of `py3.12`, `cp312`, `3.12.4`; `3.13t` is the free-threaded one."""
    match = _PYTHON.fullmatch(text.strip().lower())
    python = f"{match['major']}.{match['minor']}" if match else ""
    if not match or python not in facts.pythons:
        pythons = sorted(facts.pythons, key=numbers)
        hint = (
            nearest(text, pythons) if match else f"write e.g. {pythons[-1] if pythons else '3.13'}"
        )
        raise BadInput(f"no facts about Python {text}", hint=hint)
    return f"{python}{match['free']}"


def parse_system(facts: Facts, text: str) -> Distribution:
    """Return the distribution of `ubuntu24.04`, `ubuntu:noble`, `noble`, `rocky8`."""
    key = _system_key(text)
    if key.startswith(("win", "mac", "darwin", "osx", "wsl")):
        hint = "name the Linux inside: on Windows that of WSL 2, e.g. ubuntu24.04"
        raise BadInput(f"images are Linux, {text!r} is not", hint=hint)
    systems = {
        name: system for system in facts.distributions.values() for name in system_names(system)
    }
    without_vendor = re.sub(r"^(ubuntu|debian)(?=[a-z])", "", key)
    # Some are known by their major alone: of `alpine3.20`, `rocky8.9` the point release goes.
    without_point = re.sub(r"\.[0-9.]+$", "", key)
    keys = (key, without_vendor, without_point)
    system = next((systems[name] for name in keys if name in systems), None)
    if system is None:
        hint = nearest(key, systems)
        raise BadInput(f"no facts about the operating system {text!r}", hint=hint)
    return system


def _system_key(text: str) -> str:
    return re.sub(r"[ :_/-]|linux", "", text.strip().lower())


def system_names(system: Distribution) -> tuple[str, ...]:
    """Return every plain spelling of a distribution."""
    vendors, _, number = system.distribution.lower().rpartition(" ")
    names = [system.codename.lower()] if system.codename.isalpha() else []
    for vendor in map(_system_key, vendors.split("/")):
        names += [f"{vendor}{number}", f"{vendor}{number.replace('.', '')}"]
        if vendor == "alpine":
            names.append(vendor)
        if vendor == "rocky":
            # The same C library and Python, under another name.
            names += [f"rhel{number}", f"alma{number}", f"ubi{number}", f"oracle{number}"]
    return tuple(names)


def parse_arch(text: str) -> str:
    """Return `x86_64` of `amd64`, `aarch64` of `arm64`."""
    lower = text.strip().lower().removeprefix("linux/")
    if lower not in _ARCHES:
        raise BadInput(f"no facts about the architecture {text!r}", hint=nearest(lower, _ARCHES))
    return _ARCHES[lower]
