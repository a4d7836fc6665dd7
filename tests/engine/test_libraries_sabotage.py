"""`libraries_load` in a real image: it fails when a library is spoilt, gone, or there twice."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dlimg.checks.execute import RunningContainer
from dlimg.checks.inputs import cell_json
from dlimg.engine.client import Engine
from dlimg.model import BuiltImage, CheckStatus
from tests.support import samples
from tests.support.real_jax import (
    CUDA_CELL,
    PACKAGES,
    check_verdict,
    image,
    slowness,
    spoilt_container,
)

pytestmark = pytest.mark.engine

NAME = "libraries_load"
CUDNN, TOOLKIT = f"{PACKAGES}/nvidia/cudnn/lib", f"{PACKAGES}/nvidia/cu13/lib"
REAL = "/usr/lib/x86_64-linux-gnu/libz.so.1"  # it stands for one of NVIDIA's
MODULE = "x.cpython-313-x86_64-linux-gnu.so"
SOURCE = "/usr/lib/python3.13/lib-dynload/_bz2.cpython-313-x86_64-linux-gnu.so"
STUBS = "/usr/local/cuda/lib64/stubs"
# A wheel's list of files names one that is not there.
GONE = f"""
mkdir {PACKAGES}/nvidia_cudnn-9.dist-info; cd {PACKAGES}/nvidia_cudnn-9.dist-info
printf 'Name: nvidia-cudnn\\nVersion: 9\\n' > METADATA
echo nvidia/cudnn/lib/libcudnn_ops.so.9,, > RECORD
"""
# A package of the framework, with a module that loads after a library of the package's own.
PAIR = f"{PACKAGES}/jaxlib_pair"
NEEDED = f"/usr/lib/x86_64-linux-gnu/libm.so.6 {PAIR}/libq.so.6"
NEEDING = f"/usr/lib/x86_64-linux-gnu/libstdc++.so.6 {PAIR}/_module.so"
PAIRED = f"""
mkdir {PAIR} {PAIR}-1.dist-info
touch {PAIR}/__init__.py
cp {NEEDED}
cp {NEEDING}
LC_ALL=C sed -i 's/libm[.]so[.]6/libq.so.6/g' {PAIR}/*.so*
cd {PACKAGES}
printf 'Name: jaxlib-pair\\nVersion: 1\\n' > jaxlib_pair-1.dist-info/METADATA
printf '%s,,\\n' jaxlib_pair/* > jaxlib_pair-1.dist-info/RECORD
"""
# What each row makes is taken away before the next one.
CLEAN = f"""
rm -rf {PACKAGES}/nvidia {PACKAGES}/{MODULE} {PACKAGES}/nvidia_* {PAIR}* /usr/local/cuda /tmp/given
rm -f /usr/local/lib/libcudnn.so.9 /usr/lib/x86_64-linux-gnu/libcuda.so*
ldconfig
mkdir -p {CUDNN} {TOOLKIT} {STUBS} /tmp/given
cp {REAL} {CUDNN}/libcudnn.so.9
"""


def spoilt(start: str, file: str, old: str, new: str) -> str:
    """A copy of a library in which a name is another one of the same length."""
    assert len(old) == len(new)
    return f"cp {start} {file}; grep -q '{old}' {file}; LC_ALL=C sed -i 's/{old}/{new}/g' {file}"


ROWS = {
    "a library is gone": (
        GONE,
        "nvidia/cudnn/lib/libcudnn_ops.so.9 is gone",
    ),
    "a library needs one that is not there": (
        spoilt(REAL, f"{CUDNN}/libcudnn.so.9", "libc.so.6", "libq.so.6"),
        f"{CUDNN}/libcudnn.so.9 needs libq.so.6: not found",
    ),
    "a library lacks a symbol": (
        spoilt(REAL, f"{CUDNN}/libcudnn.so.9", "malloc", "mallox"),
        "libcudnn.so.9 does not load: ",
    ),
    "a library is cut off": (
        f"truncate -s 4096 {CUDNN}/libcudnn.so.9",
        f"{CUDNN}/libcudnn.so.9 does not load: ",
    ),
    "a library is no library": (
        f"echo no library > {CUDNN}/libcudnn.so.9",
        f"{CUDNN}/libcudnn.so.9 does not load: ",
    ),
    "two wheels have the same library": (
        f"cp {REAL} {TOOLKIT}/libcudnn.so.9",
        f"two files have one name: libcudnn.so.9: {TOOLKIT}/libcudnn.so.9 and {CUDNN}/",
    ),
    "the system has the library, too": (
        f"cp {REAL} /usr/local/lib/libcudnn.so.9; ldconfig",
        f"two files have one name: libcudnn.so.9: {CUDNN}/libcudnn.so.9 and /usr/local/lib/",
    ),
    "a variable leads to another": (
        f"cp {REAL} /tmp/given/libcudnn.so.9",
        f"two files have one name: libcudnn.so.9: {CUDNN}/libcudnn.so.9 and /tmp/given/",
    ),
    "a stub is shipped": (
        f"touch {STUBS}/libcuda.so",
        f"a libcuda is shipped, which is the driver's: {STUBS}/libcuda.so",
    ),
    "a driver is shipped": (
        "touch /usr/lib/x86_64-linux-gnu/libcuda.so.580.159",
        "a libcuda is shipped, which is the driver's: /usr/lib/x86_64-linux-gnu/libcuda.so.580.159",
    ),
    "a module needs a library that is not there": (
        spoilt(SOURCE, f"{PACKAGES}/{MODULE}", "libbz2.so.1.0", "libown.so.1.0"),
        f"{PACKAGES}/{MODULE} needs libown.so.1.0: not found",
    ),
    "a module needs a library of its package that is gone": (
        f"{PAIRED} rm {PAIR}/libq.so.6",
        f"{PAIR}/_module.so needs libq.so.6: not found",
    ),
    "a module lacks a symbol, whatever is loaded before": (
        f"{PAIRED} LC_ALL=C sed -i 's/strxfrm/strxfrx/g' {PAIR}/_module.so",
        f"{PAIR}/_module.so does not load: {PAIR}/_module.so: undefined symbol: __strxfrx_l",
    ),
    "a module lacks a symbol of Python": (
        spoilt(SOURCE, f"{PACKAGES}/{MODULE}", "PyList_New", "PyList_Old"),
        f"{PACKAGES}/{MODULE} does not load: {PACKAGES}/{MODULE}: undefined symbol: PyList_Old",
    ),
}


@pytest.fixture(scope="module")
def there(engine: Engine, jax_image: BuiltImage) -> Iterator[RunningContainer]:
    with spoilt_container(engine, jax_image) as place:
        yield replace(place, environment={"LD_LIBRARY_PATH": "/tmp/given"})  # noqa: S108


def prepare(there: RunningContainer, script: str) -> None:
    done = there.container.exec_run(["bash", "-euc", CLEAN + script], user="0")
    assert done.exit_code == 0, done.output.decode()


def test_sound_libraries_pass(there: RunningContainer, jax_image: BuiltImage) -> None:
    link = f"ln -s {CUDNN}/libcudnn.so.9 {TOOLKIT}/; cp {SOURCE} {PACKAGES}/{MODULE}"
    prepare(there, f"{link}\n{PAIRED}")
    verdict = check_verdict(there, jax_image, NAME, **there.environment)
    assert verdict.status is CheckStatus.PASSED, verdict.reason
    assert verdict.figures["libraries"] == 1
    assert verdict.seconds < 20 * slowness(there)


USUAL = (
    "a library is gone",
    "a driver is shipped",
    "a module lacks a symbol of Python",
)


@pytest.mark.parametrize(
    "row",
    [
        *USUAL,
        *(pytest.param(row, marks=pytest.mark.sabotage) for row in ROWS if row not in USUAL),
    ],
)
def test_a_library_that_is_spoilt_fails(
    row: str, there: RunningContainer, jax_image: BuiltImage
) -> None:
    script, reason = ROWS[row]
    prepare(there, script)
    verdict = check_verdict(there, jax_image, NAME, **there.environment)
    assert verdict.status is CheckStatus.FAILED
    assert reason in verdict.reason
    assert verdict.reason.count(";") == 0, "it fails for more than it should"


def test_an_image_for_cuda_without_its_libraries_fails(
    engine: Engine, jax_image: BuiltImage
) -> None:
    of = replace(jax_image, planned=samples.planned(image(CUDA_CELL)))
    with spoilt_container(engine, jax_image) as place:
        verdict = check_verdict(place, of, NAME, DLIMG_CELL=cell_json(of.planned))
    assert verdict.status is CheckStatus.FAILED
    assert verdict.reason == "the tag says CUDA 13.2, and no library of it is here"
