"""The image is what its tag and labels say: framework, Python, CUDA, cuDNN, NCCL, OS and user.

needs: image
seconds: 120
"""

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _adapter
import _cuda_libraries
import _fatbin
import _flavour
import _labels
import _package_list
import _paired_packages
import _tag
import _user
import _verdict

SYSTEM = (Path("/usr"), Path("/opt"))


def main() -> None:
    expected = _tag.cell()
    if not expected:
        _verdict.not_run("DLIMG_CELL is not set: there is no tag to compare with")
    has_adapter = _adapter.adapter_path() is not None
    if has_adapter:
        build = _adapter.load().build()
    else:  # nothing but its package is known
        version = _tag.distributions().get(expected.get("package", ""), "")
        build = _adapter.Build(version=version, cuda=expected.get("cuda", ""))
    judge(expected, build, has_adapter=has_adapter)


def judge(expected: Mapping[str, str], build: _adapter.Build, *, has_adapter: bool) -> None:
    """Show what is installed, and fail with every axis in which the tag or a label differs."""
    labels = _labels.read()
    installed = _tag.distributions()
    actual = {
        "os": _tag.os_name(),
        "glibc": _tag.glibc(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **_user.current(),
        "version": build.version,
        "built_cuda": build.cuda,
        "built_cudnn": build.cudnn,
        "package": installed.get(expected["package"], ""),
        "packages": _package_list.digest(_package_list.installed()),
    }
    codes = architectures(build.library)
    beside = _paired_packages.named(expected["paired_packages"])
    imported, broken = _paired_packages.imported(beside)
    mismatches = [
        *_tag.contradictions(expected),
        *_tag.basic_mismatches(expected, actual),
        *_package_list.mismatches(expected, actual),
        *_user.mismatches(expected, actual),
        *_flavour.mismatches(expected, installed),
        *broken,
        *_paired_packages.mismatches(beside, installed, imported),
        *_labels.mismatches(labels, expected, installed),
    ]
    if has_adapter:
        mismatches += architecture_mismatches(expected, build.architectures, codes.everywhere)
    if expected["cuda"]:
        for library in wanted_libraries(expected):
            actual[library], trouble = _cuda_libraries.load(library)
            mismatches += [trouble] if trouble else []
        mismatches += _tag.cuda_mismatches(expected, actual)
    else:
        mismatches += _tag.cpu_mismatches(
            actual, installed, _cuda_libraries.cuda_files([*SYSTEM, *map(Path, sys.path)])
        )
    _verdict.show(
        expected=expected, actual=actual, paired_packages=imported, architectures=codes._asdict()
    )
    _verdict.demand(not mismatches, "; ".join(mismatches))


def wanted_libraries(expected: Mapping[str, str]) -> list[str]:
    """Return the libraries to load: cuDNN and NCCL only where expected or installed."""
    return [
        library
        for library in ("cudart", "cudnn", "nccl")
        if library == "cudart" or expected[library] or _cuda_libraries.library_files(library)
    ]


def architecture_mismatches(
    expected: Mapping[str, str], named: Sequence[str], codes: Sequence[str]
) -> list[str]:
    """Return where the GPU code in the framework's library (`codes`) differs from facts and build.

    For a release without facts, any GPU code will do.
    """
    promised = expected["architectures"].split()
    if not expected["cuda"]:
        code = " ".join(dict.fromkeys([*codes, *named]))
        return [f"architectures: the tag says cpu, and there is GPU code for {code}"] * bool(code)
    if not codes:
        return ["architectures: the framework's library has no GPU code"]
    mismatches = []
    if promised and set(promised) != set(codes):
        mismatches.append(
            f"architectures: {expected['architectures']} is promised, held is {' '.join(codes)}"
        )
    if named and (not set(named) <= set(codes) or machine_code(named) != machine_code(codes)):
        mismatches.append(
            f"architectures: the framework says {' '.join(named)}, held is {' '.join(codes)}"
        )
    return mismatches


def machine_code(architectures: Iterable[str]) -> set[str]:
    """Return the architectures with machine code: not every framework names PTX."""
    return {name for name in architectures if name.startswith("sm_")}


def architectures(library: Path | None) -> _fatbin.Held:
    """Return the architectures of a library's GPU code; fail where it cannot be read."""
    if library is None or not library.exists():
        return _fatbin.Held([], [])
    try:
        return _fatbin.held(library)
    except (OSError, ValueError) as error:
        return _verdict.fail(f"architectures: {library} cannot be read: {error}")


if __name__ == "__main__":
    main()
