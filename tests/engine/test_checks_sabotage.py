"""The real checks in a real image: each of them fails when the image or its tag is spoilt.

`judged` takes it that a GPU was given: no verdict is not-run because the runner says so.
"""
# ruff: noqa: S108  # the folders are in a container

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from dlimg.checks import run
from dlimg.checks.discover import checks_for
from dlimg.checks.execute import RunningContainer
from dlimg.checks.inputs import cell_json, lock_json
from dlimg.checks.run import CheckSettings
from dlimg.checks.verdicts import exit_code_of, is_gpu_tested, outcome_of
from dlimg.engine.client import Engine
from dlimg.model import BuiltImage, CheckStatus, Evidence, Verdict
from tests.support import elf_files, layout_image, samples
from tests.support.image_folders import checks_in, files_in
from tests.support.real_jax import (
    CELL,
    CUDA_CELL,
    IMAGES,
    OVERLAY,
    PACKAGES,
    Edit,
    image,
    judged,
    opened,
)

pytestmark = pytest.mark.engine

GPU_CHECKS = ("nvidia_smi", "is_gpu_available", "conv_training")
CHECKS = (*GPU_CHECKS, "tag_matches_image", "pip_check")

# Byte code is never compared with its source, so it has to go as well.
STALE = "rm __pycache__/__init__.*"
RELU_IS_GONE = f"cd {PACKAGES}/jax/nn; {STALE}; echo 'relu = lambda x: x' >> __init__.py"
ROUNDED = f"""cd {PACKAGES}/jax/lax; {STALE}; cat >> __init__.py <<'END'

exact = conv_general_dilated

def conv_general_dilated(*all):
    # To 11 binary digits, as TF32 rounds.
    return exact(*(one.astype("float16").astype("float32") for one in all[:2]), *all[2:])
END"""
NCCL = f"mkdir -p {PACKAGES}/nvidia/nccl/lib; touch {PACKAGES}/nvidia/nccl/lib/libnccl.so.2"
PLUGIN = f"{PACKAGES}/jax_plugins/xla_cuda13/xla_cuda_plugin.so"
GPU_CODE = f"""mkdir -p {PLUGIN.rpartition("/")[0]}; base64 -d > {PLUGIN} <<'END'
{base64.b64encode(elf_files.library(elf_files.container(elf_files.entry(2, 90)))).decode()}
END"""
CUDNN = f"mkdir -p {PACKAGES}/nvidia/cudnn/lib; touch {PACKAGES}/nvidia/cudnn/lib/libcudnn.so.9"
PACKAGE = "\\nPackage: netcat\\nStatus: install %s\\nArchitecture: amd64\\nVersion: 1\\n"
FORGED = f"""cd {PACKAGES}/jax; /opt/env/bin/python - <<'END'
import marshal, pathlib
(kept,) = pathlib.Path("__pycache__").glob("__init__.*")
code = marshal.dumps(compile("raise SystemExit", "x", "exec"))
kept.write_bytes(kept.read_bytes()[:16] + code)
END"""


# RECORD is changed together with a file: nothing in the image says that it was another.
RECORDED = """/opt/env/bin/python - <<'END'
import base64, hashlib, pathlib, re
content = pathlib.Path("numpy/version.py").read_bytes()
digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
(record,) = pathlib.Path(".").glob("numpy-*/RECORD")
row = f"numpy/version.py,sha256={digest},{len(content)}"
record.write_text(re.sub(r"(?m)^numpy/version.py,.*$", row, record.read_text()))
END
rm numpy/__pycache__/version.*"""


def distribution(folder: str, name: str, version: str) -> str:
    """A script that makes a distribution known in this folder."""
    about = f"{name.replace('-', '_')}-{version}.dist-info"
    text = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
    record = f"echo {about}/METADATA,, > {about}/RECORD"
    return f"cd {folder}; mkdir {about}; printf '{text}' > {about}/METADATA; {record}"


def installed(target: str) -> str:
    """A script that installs a package made here, with a plain pip."""
    install = layout_image.install("greeting", "1.0").replace(
        "pip install", f"pip install {target}"
    )
    return (
        f"base64() {{ command base64 -d <<< {layout_image.wheel('greeting', '1.0')}; }}; {install}"
    )


@pytest.fixture(scope="module")
def built(jax_image: BuiltImage) -> BuiltImage:
    return jax_image


@pytest.fixture(scope="module")
def cuda(built: BuiltImage) -> BuiltImage:
    """The same image under the tag of a CUDA image."""
    return replace(built, planned=samples.planned(image(CUDA_CELL)))


@pytest.fixture(scope="module")
def there(engine: Engine, built: BuiltImage) -> Iterator[RunningContainer]:
    """A container of the image as it is, with things that claim to be NVIDIA's aside."""
    script = """
mkdir /tmp/liar /tmp/empty /tmp/nvml
echo 'echo GPU-1, NVIDIA H200, 580.159, 9.0, 143771' > /tmp/liar/nvidia-smi
echo 'echo No devices were found; exit 6' > /tmp/empty/nvidia-smi
sed -i '1i#!/bin/sh' /tmp/*/nvidia-smi
chmod 755 /tmp/*/nvidia-smi
echo 'no library' > /tmp/nvml/libnvidia-ml.so.1
"""
    with opened(engine, built, script) as place:
        yield place


def evidence_of(engine: Engine, of: BuiltImage, folder: Path) -> Evidence:
    """What comes of the checks of this file, run as `dlimg test` runs them."""
    checks = [
        one for one in checks_for(of.planned.image.cell, checks_in(IMAGES)) if one.name in CHECKS
    ]
    using = CheckSettings(evidence=folder, log=print)
    return run.run_checks(of, checks, engine, device=None, images=files_in(IMAGES), settings=using)


def test_the_unchanged_image_passes_every_check(
    engine: Engine, built: BuiltImage, tmp_path: Path
) -> None:
    found = evidence_of(engine, built, tmp_path).verdicts
    assert {one.check: one.status for one in found} == {
        "pip_check": CheckStatus.PASSED,
        "conv_training": CheckStatus.PASSED,
        "tag_matches_image": CheckStatus.PASSED,
    }, found


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            "echo 'import os; os._exit(0)' > /etc/python3.13/sitecustomize.py", id="start"
        ),
        pytest.param("ln -sf /bin/true $(command -v python)", id="python"),
        pytest.param("ln -sf /bin/true /usr/bin/timeout", id="timeout"),
        pytest.param(
            f"cd {PACKAGES}/jax; {STALE}; echo 'raise SystemExit' > __init__.py", id="jax"
        ),
    ],
)
def test_an_image_that_ends_everything_with_0_passes_nothing(
    engine: Engine, built: BuiltImage, script: str
) -> None:
    with opened(engine, built, script) as place:
        found = judged(place, built, "conv_training")
    assert found.status is CheckStatus.FAILED, found


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({"version": "0.12.0"}, "version: the tag says 0.12.0, found 0.12.0.1"),
        ({"python": "3.12"}, "python: the tag says 3.12, this is 3.13."),
        ({"python": "3"}, "python: the tag says 3, this is 3.13."),
        ({"os": "debian12"}, "os: the tag says debian12, this is debian13"),
        ({"package": "tensorflow-cpu"}, "package: the tag says 0.12.0.1, found none"),
        ({"accelerator": "cuda13.2"}, "accelerator: the tag says cuda13.2, and CUDA none"),
        ({"cuda": "13.2"}, "cuda: the tag says 13.2, the framework is a CPU build"),
        ({"cudnn": "9.26.0.51"}, "cudnn: the tag says 9.26.0.51, and CUDA none"),
        ({"flavour": "compile"}, "flavour: compile promises a C compiler"),
        ({"flavour": "devel"}, "flavour: devel promises Python's headers"),
        ({"flavour": "workspace"}, "flavour: workspace promises jupyterlab"),
        ({"paired_packages": "jaxlib==0.12.0"}, "jaxlib 0.12.0 is promised, installed is 0.12.0.1"),
        ({"paired_packages": "torchvision==0.30.0"}, "0.30.0 is promised, installed is none"),
        ({"nccl": "2.30.7"}, "nccl: the tag says 2.30.7, and CUDA none"),
        ({"cuda": "13.2", "nccl": "2.30.7"}, "nccl: one is to be installed, found none"),
        ({"cuda": "13.2"}, "architectures: the framework's library has no GPU code"),
        ({"architectures": "sm_90"}, "architectures: the tag says sm_90, and CUDA none"),
        ({"glibc": "2.36"}, "glibc: 2.36 is promised, this is 2."),
        ({"platform": "x86_64-manylinux_2_42"}, "glibc: wheels of x86_64-manylinux_2_42 may be"),
        ({"platform": "aarch64-manylinux_2_28"}, "platform: the wheels are for aarch64"),
        ({"user": "somebody"}, "user: somebody is promised, this is user"),
        ({"uid": "1001"}, "uid: 1001 is promised, this is 1000"),
        ({"gid": "1000"}, "gid: 1000 is promised, this is 100"),
        ({"home": "/root"}, "home: /root is promised, this is /home/user"),
        ({"cell": "jax-0.12.0.1-cpu"}, f"label cell: it says {CELL}, and what was promised is jax"),
        ({"key": "a1"}, "and what was promised is a1"),
        ({"base": "sha256:a1"}, "label base: it says sha256:"),
        ({"base-source": "registry"}, "label base-source: it says bootstrap"),
        ({"packages": "sha256:a1"}, "packages: sha256:a1 is promised, installed is sha256:"),
    ],
    ids=str,
)
def test_a_tag_that_lies_fails(
    lies: dict[str, str], reason: str, there: RunningContainer, built: BuiltImage
) -> None:
    axes = json.loads(cell_json(built.planned)) | lies
    said = judged(there, built, "tag_matches_image", DLIMG_CELL=json.dumps(axes))
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("io.dlimg.os", "debian12", "label os: it says debian12"),
        ("io.dlimg.cudnn", "9.26.0.51", "label cudnn: it says 9.26.0.51"),
        ("io.dlimg.version", "0.12.0", "label version: it says 0.12.0"),
        ("io.dlimg.python", None, "label python: it says nothing"),
        ("io.dlimg.driver", "580", "label driver: it says 580, and what was promised is nothing"),
        ("io.dlimg.base-os", "debian12", "label base-os: it says debian12"),
        ("io.dlimg.wheels", None, "label wheels: there is none"),
        ("io.dlimg.wheels", "jax==0.12.0.1", "label wheels: it names jaxlib not (installed 0.12"),
        ("io.dlimg.packages", "sha256:a1", "label packages: it says sha256:a1"),
        ("io.dlimg.packages", None, "label packages: it says nothing"),
        ("org.opencontainers.image.version", "0.12.0", "image.version: it says 0.12.0"),
    ],
)
def test_a_label_that_lies_fails(  # the lie, and where it is told
    name: str,
    value: str | None,
    reason: str,
    there: RunningContainer,
    built: BuiltImage,
    engine: Engine,
) -> None:
    labels = engine.sdk.images.get(built.digest).labels | {name: value}
    text = json.dumps({name: value for name, value in labels.items() if value is not None})
    said = judged(there, built, "tag_matches_image", DLIMG_LABELS=text)
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"maintainer": "somebody"}'])
def test_without_labels_nothing_passes(
    text: str, there: RunningContainer, built: BuiltImage
) -> None:
    said = judged(there, built, "tag_matches_image", DLIMG_LABELS=text)
    assert said.status is CheckStatus.FAILED
    assert "labels: the image has none" in said.reason or "DLIMG_LABELS" in said.reason


@pytest.mark.parametrize("text", ["", "{}", "[]", "{"])
def test_without_a_tag_nothing_passes(
    text: str, there: RunningContainer, built: BuiltImage
) -> None:
    said = judged(there, built, "tag_matches_image", DLIMG_CELL=text)
    assert said.status is (CheckStatus.FAILED if text in ("[]", "{") else CheckStatus.NOT_RUN)
    assert "DLIMG_CELL" in said.reason


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (CUDNN, f"cuda: the tag says cpu, but there is {PACKAGES}/nvidia/cudnn/lib/libcudnn.so.9"),
        (f"touch {PACKAGES}/jaxlib/libcudnn.so.9", "jaxlib/libcudnn.so.9"),
        ("touch /usr/lib/x86_64-linux-gnu/libcudnn_ops.so.9", "/usr/lib/"),
        ("mkdir -p /usr/local/cuda; touch /usr/local/cuda/libcudart.so.13", "/usr/local/cuda/"),
        (f"touch {OVERLAY}/libcudart.so.13", f"{OVERLAY}/libcudart.so.13"),
        (distribution(PACKAGES, "nvidia-cublas", "13.0"), "nvidia-cublas is installed"),
        (distribution(OVERLAY, "jax", "0.11.0"), "package: the tag says 0.12.0.1, found 0.11.0"),
        (
            f"cd {PACKAGES}/jax; rm __pycache__/version.*; sed -i s/0.12.0.1/0.12.0.2/ version.py",
            "version: the tag says 0.12.0.1, found 0.12.0.2",
        ),
        ("sed -i s/13/12/ /etc/os-release", "os: the tag says debian13, this is debian12"),
        (NCCL, f"cuda: the tag says cpu, but there is {PACKAGES}/nvidia/nccl/lib/libnccl.so.2"),
        (installed(f"--target {PACKAGES}"), "wheels: it names greeting not (installed 1.0)"),
        (
            distribution(OVERLAY, "jaxlib", "0.11.0"),
            "jaxlib 0.12.0.1 is promised, installed is",
        ),
        ("sed -i s,/home/user,/srv, /etc/passwd", "home: /home/user is promised, this is /srv"),
        ("sed -i s/:1000:100:/:1234:100:/ /etc/passwd", "uid: 1000 is promised, this is 1234"),
        ("sed -i s/:1000:100:/:1000:0:/ /etc/passwd", "gid: 100 is promised, this is 0"),
        (GPU_CODE, "architectures: the tag says cpu, and there is GPU code for sm_90"),
        (
            f"printf '{PACKAGE}' 'ok installed' >> /var/lib/dpkg/status",
            "packages: sha256:",
        ),
        (f"printf '{PACKAGE}' 'ok half-configured' >> /var/lib/dpkg/status", "packages: sha256:"),
        ("sed -i '0,/^Version: /s//&9/' /var/lib/dpkg/status", "packages: sha256:"),
        ("dpkg --remove --force-depends tini", "packages: sha256:"),
        (": > /var/lib/dpkg/status", "packages: sha256:"),
        ("mkdir -p /opt/python; ln -s cpython-3.13.9 /opt/python/current", "packages: sha256:"),
    ],
)
def test_an_image_that_its_tag_does_not_tell_of_fails(
    script: str, reason: str, engine: Engine, built: BuiltImage
) -> None:
    with opened(engine, built, script) as place:
        said = judged(place, built, "tag_matches_image")
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason


def test_an_image_that_runs_as_root_fails(engine: Engine, built: BuiltImage) -> None:
    with opened(engine, built, user="0") as place:
        said = judged(place, built, "tag_matches_image")
    assert (said.status, said.reason) == (CheckStatus.FAILED, "user: this runs as root")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (installed(f"--target {PACKAGES}"), "greeting: locked not, installed 1.0"),
        (installed(f"--target {OVERLAY}"), "greeting: locked not, installed 1.0"),
        (distribution(OVERLAY, "numpy", "2.3.0"), "numpy: locked 2.5.5, installed 2.3.0"),
        (distribution(OVERLAY, "numpy", "2.5.5"), "numpy: installed 2 times"),
        (distribution(PACKAGES, "numpy", "2.3.0"), "numpy: installed 2 times"),
        (f"rm -r {PACKAGES}/opt_einsum-*", "requires opt-einsum, which is not installed"),
        (f"rm -r {PACKAGES}/pip", "No module named pip"),
        (f"rm -r {PACKAGES}/opt_einsum", "files are gone or changed: opt_einsum/"),
        (f"sed -i s/2/3/ {PACKAGES}/numpy/version.py", "gone or changed: numpy/version.py"),
        (f"truncate -s -1 {PACKAGES}/jaxlib/libjax_common.so", "jaxlib/libjax_common.so"),
        (
            f"printf x | dd of={PACKAGES}/jaxlib/libjax_common.so bs=1 seek=200000000 conv=notrunc",
            "1 files are gone or changed: jaxlib/libjax_common.so",
        ),
        (
            f"cd {PACKAGES}; echo '# x' >> numpy/version.py; {RECORDED}",
            "numpy: its RECORD is not that of the lock's wheel",
        ),
        (
            f"sed -i 's/^numpy.version.py,.*/numpy\\/version.py,,/' {PACKAGES}/numpy-*/RECORD",
            "gone or changed: numpy/version.py",
        ),
        (f"rm {PACKAGES}/numpy-*/RECORD", "numpy: its RECORD is gone"),
        (
            f"sed -i 's/^Version: .*/Version: 1.0/' {PACKAGES}/numpy-*/METADATA",
            "numpy: locked 2.5.5, installed 1.0",
        ),
        (distribution(OVERLAY, "numpy", "1.0"), "but you have numpy 1.0"),
        ("rm /etc/dlimg/requirements.txt", "there is no lock"),
        ("sed -i 's/^numpy==.*/numpy/' /etc/dlimg/requirements.txt", "pins no version: numpy"),
        ("sed -i /^scipy/d /etc/dlimg/requirements.txt", "the image notes none"),
        (
            "sed -i '/^scipy/s/sha256:..../sha256:0000/' /etc/dlimg/requirements.txt",
            "scipy: the image notes another sha256 than the lock's",
        ),
        (
            f"sed -i s/cp313-cp313/cp313-abi3/ {PACKAGES}/jaxlib-*/WHEEL",
            "_x86_64.whl, installed is one for cp313-abi3-manylinux_2_27_x86_64",
        ),
        (f"touch {PACKAGES}/sitecustomize.py", "/sitecustomize.py came with no package"),
        (f"touch {OVERLAY}/jax.pth", "/jax.pth came with no package"),
        (
            f"cd {PACKAGES}/jax/numpy/__pycache__; cp fft.*.pyc linalg.*.pyc",
            "byte code of another source",
        ),
        (f"rm {PACKAGES}/jax/numpy/fft.py", "byte code without its source"),
        (FORGED, "jax/__pycache__/__init__.cpython-313.pyc: not what its source compiles to"),
    ],
)
def test_packages_that_the_lock_does_not_name_fail(
    script: str, reason: str, engine: Engine, built: BuiltImage
) -> None:
    with opened(engine, built, script) as place:
        said = judged(place, built, "pip_check")
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"2.5.5"', '"2.5.4"', "numpy: locked 2.5.4, installed 2.5.5"),
        ('"sha256": "', '"sha256": "0', "another sha256 than the lock's"),
        ("cp313-cp313", "cp312-cp312", "installed is one for cp313-cp313-"),
        ('"name": "scipy"', '"name": "sympy"', "scipy: locked not, installed 1."),
        ('{"name": "jax",', '{"name": "jaxx",', "jaxx: locked 0.12.0.1, installed not"),
        ("[", "{", "is no lock"),
    ],
)
def test_another_lock_fails(
    old: str, new: str, reason: str, engine: Engine, built: BuiltImage
) -> None:
    text = lock_json(built.planned.image.lock)
    assert old in text
    script = f"cat > /srv/lock.json <<'END'\n{text.replace(old, new)}\nEND"
    with opened(engine, built, script) as place:
        said = judged(place, built, "pip_check", DLIMG_LOCK="/srv/lock.json")
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason


SHARED, TRAINING = "common/checks/_convolution.py", "jax/framework.py"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ((SHARED, "RATE = 0.1\n", "RATE = 0.0\n"), "which is no fall by a factor of 10"),
        ((SHARED, "FALL = 10.0 ", "FALL = 1e9 "), "which is no fall by a factor of 1e+09"),
        ((SHARED, "range(STEPS)", "range(STEPS - 1)"), "cpu: 30 losses"),
        ((SHARED, "LOGITS = 1e-4 ", "LOGITS = 1e-9 "), "cpu: logits off the reference"),
        ((SHARED, "mean(axis=(2, 4))", "max(axis=(2, 4))"), "cpu: logits off the reference"),
        ((SHARED, "np.mean(norm", "1.001 * np.mean(norm"), "cpu: first loss off the reference"),
        ((SHARED, "tuple(map(to_numpy, weights))", "first[1]"), "cpu: last loss off"),
        ((TRAINING, "jax.nn.relu(convolved)", "convolved"), "cpu: logits off the reference"),
        ((TRAINING, "-chosen.mean()", "-chosen.mean() * jnp.nan"), "the loss went from nan to nan"),
        ((TRAINING, "labels[:, None]", "3 - labels[:, None]"), "cpu: first loss off"),
        (
            (TRAINING, "loss, gradients\n", "loss, [1.01 * slope for slope in gradients]\n"),
            "cpu: gradient off the reference",
        ),
    ],
    ids=lambda value: value[2] if isinstance(value, tuple) else "",
)
def test_a_training_that_is_spoilt_fails(
    edit: Edit, reason: str, there: RunningContainer, built: BuiltImage
) -> None:
    said = judged(there, built, "conv_training", edit)
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason


@pytest.mark.parametrize("script", [RELU_IS_GONE, ROUNDED], ids=["no relu", "rounded"])
def test_a_framework_that_computes_something_else_fails(
    script: str, engine: Engine, built: BuiltImage
) -> None:
    with opened(engine, built, script) as place:
        said = judged(place, built, "conv_training")
    assert said.status is CheckStatus.FAILED
    assert "cpu: logits off the reference" in said.reason


NO_DRIVER = "there is no libnvidia-ml.so.1"


@pytest.mark.parametrize("name", GPU_CHECKS)
@pytest.mark.parametrize(
    ("environment", "status", "reason"),
    [
        ({}, CheckStatus.NOT_RUN, f"no GPU here: no /dev/nvidia0, and {NO_DRIVER}"),
        (
            {"LD_LIBRARY_PATH": "/tmp/nvml"},
            CheckStatus.NOT_RUN,
            "no GPU here: no /dev/nvidia0, and libnvidia-ml.so.1 does not load",
        ),
        (
            {"DLIMG_GPU": "expected"},
            CheckStatus.FAILED,
            f"a GPU was handed to this container, but {NO_DRIVER}",
        ),
        (
            {"DLIMG_GPU": "expected", "CUDA_VISIBLE_DEVICES": "-1"},
            CheckStatus.FAILED,
            f"a GPU was handed to this container, but {NO_DRIVER}",
        ),
        (
            {"DLIMG_GPU": "expected", "LD_LIBRARY_PATH": "/tmp/nvml"},
            CheckStatus.FAILED,
            "a GPU was handed to this container, but libnvidia-ml.so.1 does not load",
        ),
    ],
    ids=str,
)
def test_without_a_gpu_no_gpu_check_passes(
    name: str,
    environment: dict[str, str],
    status: CheckStatus,
    reason: str,
    there: RunningContainer,
    cuda: BuiltImage,
) -> None:
    said = as_on_gpu(there, cuda, name, **environment)
    assert said.status is status
    assert reason in said.reason
    assert said.figures == {}


def as_on_gpu(
    there: RunningContainer, cuda: BuiltImage, name: str, *edits: Edit, **environment: str
) -> Verdict:
    """What a check says in a CPU image that passes itself off as one for CUDA."""
    return judged(there, cuda, name, *edits, DLIMG_CELL=cell_json(cuda.planned), **environment)


@pytest.mark.parametrize(
    ("program", "handed", "status", "reason"),
    [
        ("liar", "none", CheckStatus.FAILED, f"nvidia-smi reports NVIDIA H200, but {NO_DRIVER}"),
        (
            "liar",
            "expected",
            CheckStatus.FAILED,
            f"nvidia-smi reports NVIDIA H200, but {NO_DRIVER}",
        ),
        ("empty", "none", CheckStatus.NOT_RUN, f"no GPU here: no /dev/nvidia0, and {NO_DRIVER}"),
        ("empty", "expected", CheckStatus.FAILED, f"was handed to this container, but {NO_DRIVER}"),
    ],
)
def test_an_nvidia_smi_that_lies_does_not_pass(
    program: str,
    handed: str,
    status: CheckStatus,
    reason: str,
    there: RunningContainer,
    cuda: BuiltImage,
) -> None:
    path = there.container.exec_run(["printenv", "PATH"]).output.decode().strip()
    environment = {"PATH": f"/tmp/{program}:{path}", "DLIMG_GPU": handed}
    said = as_on_gpu(there, cuda, "nvidia_smi", **environment)
    assert said.status is status
    assert said.reason.endswith(reason)


def test_a_gpu_without_its_driver_fails(
    engine: Engine, built: BuiltImage, cuda: BuiltImage
) -> None:
    with opened(engine, built, "touch /dev/nvidia0") as place:
        said = [as_on_gpu(place, cuda, name) for name in GPU_CHECKS]
    assert {(one.status, one.reason) for one in said} == {
        (CheckStatus.FAILED, f"/dev/nvidia0 is here, but {NO_DRIVER}")
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nvidia_smi", "NVML reports NVIDIA H200, but nvidia-smi does not: nvidia-smi is not on"),
        ("is_gpu_available", "NVIDIA H200 with driver 580.159 is here, but jax 0.12.0.1 sees no"),
        ("conv_training", "NVIDIA H200 with driver 580.159 is here, but jax 0.12.0.1 sees no"),
    ],
)
def test_a_framework_that_does_not_see_the_gpu_fails(
    name: str, reason: str, there: RunningContainer, cuda: BuiltImage
) -> None:
    gpu = 'Gpu("GPU-1", "NVIDIA H200", "580.159", "9.0", 143771)'
    driver = ("common/checks/_gpu.py", "gpus = ask_driver()", f"gpus = [{gpu}]")
    said = as_on_gpu(there, cuda, name, driver, DLIMG_GPU="expected")
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason


def test_a_cpu_image_under_a_tag_of_cuda_fails(
    engine: Engine, cuda: BuiltImage, tmp_path: Path
) -> None:
    found = evidence_of(engine, cuda, tmp_path)
    assert exit_code_of(outcome_of(found.verdicts)) == 1
    assert not is_gpu_tested(found)
    said = {one.check: one for one in found.verdicts}
    assert {name: one.status for name, one in said.items()} == {
        "nvidia_smi": CheckStatus.NOT_RUN,
        "pip_check": CheckStatus.FAILED,
        "conv_training": CheckStatus.NOT_RUN,
        "is_gpu_available": CheckStatus.NOT_RUN,
        "tag_matches_image": CheckStatus.FAILED,
    }
    for lie in ("cudart: one is to be installed, found none", "cudnn: one is to be installed"):
        assert lie in said["tag_matches_image"].reason
    assert "nvidia-nccl-cu13: locked 2.30.7, installed not" in said["pip_check"].reason


@pytest.fixture
def spoilt(engine: Engine, built: BuiltImage) -> Iterator[BuiltImage]:
    """An image made of the real one, in which nothing is right any more."""
    script = "\n".join((RELU_IS_GONE, CUDNN, installed(f"--target {PACKAGES}")))
    with opened(engine, built, script) as place:
        made = place.container.commit(changes="USER 0")
    yield replace(built, digest=str(made.id))
    with contextlib.suppress(docker.errors.ImageNotFound):
        engine.sdk.images.remove(str(made.id))


def test_an_image_that_is_spoilt_in_every_way_fails_every_check(
    engine: Engine, spoilt: BuiltImage, tmp_path: Path
) -> None:
    said = {one.check: one for one in evidence_of(engine, spoilt, tmp_path).verdicts}
    assert {one.status for one in said.values()} == {CheckStatus.FAILED}
    assert said.keys() == {"pip_check", "conv_training", "tag_matches_image"}
    assert "greeting: locked not, installed 1.0" in said["pip_check"].reason
    assert "logits off the reference" in said["conv_training"].reason
    for lie in ("user: this runs as root; ", "cuda: the tag says cpu", "wheels: it names greeting"):
        assert lie in said["tag_matches_image"].reason
