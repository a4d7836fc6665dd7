"""`tag_matches_image` in a real image: a tag that lies, labels that lie, and another image."""

import base64
import json
from collections.abc import Iterator

import pytest

from dlimg.checks.execute import RunningContainer
from dlimg.checks.inputs import cell_json
from dlimg.engine.client import Engine
from dlimg.model import BuiltImage, CheckStatus
from tests.support import elf_files
from tests.support.real_jax import CELL, OVERLAY, PACKAGES, check_verdict, spoilt_container
from tests.support.rows import first_values
from tests.support.sabotage import (
    CUDNN,
    Sabotage,
    distribution,
    installed,
    sabotage,
    script_of,
    unnamed,
)

pytestmark = pytest.mark.engine

CHECK = "tag_matches_image"
NCCL = f"mkdir -p {PACKAGES}/nvidia/nccl/lib; touch {PACKAGES}/nvidia/nccl/lib/libnccl.so.2"
PLUGIN = f"{PACKAGES}/jax_plugins/xla_cuda13/xla_cuda_plugin.so"
GPU_CODE = f"""mkdir -p {PLUGIN.rpartition("/")[0]}; base64 -d > {PLUGIN} <<'END'
{base64.b64encode(elf_files.library(elf_files.container(elf_files.entry(2, 90)))).decode()}
END"""
PACKAGE = "\\nPackage: netcat\\nStatus: install %s\\nArchitecture: amd64\\nVersion: 1\\n"


@pytest.fixture(scope="module")
def container(engine: Engine, jax_image: BuiltImage) -> Iterator[RunningContainer]:
    """A container of the image as it is."""
    with spoilt_container(engine, jax_image) as running:
        yield running


# Values of the tag that are not the image's, and what is said of each. A value has one lie in a
# tag, and some change what is said of others.
TAGS = {
    "a CPU image's": {
        "version": ("0.12.0", "version: the tag says 0.12.0, found 0.12.0.1"),
        "python": ("3.12", "python: the tag says 3.12, this is 3.13."),
        "os": ("debian12", "os: the tag says debian12, this is debian13"),
        "accelerator": ("cuda13.2", "accelerator: the tag says cuda13.2, and CUDA none"),
        "cudnn": ("9.26.0.51", "cudnn: the tag says 9.26.0.51, and CUDA none"),
        "nccl": ("2.30.7", "nccl: the tag says 2.30.7, and CUDA none"),
        "architectures": ("sm_90", "architectures: the tag says sm_90, and CUDA none"),
        "flavour": ("compile", "flavour: compile promises a C compiler"),
        "paired_packages": (
            "jaxlib==0.12.0",
            "jaxlib 0.12.0 is promised, installed is 0.12.0.1",
        ),
        "glibc": ("2.36", "glibc: 2.36 is promised, this is 2."),
        "platform": ("x86_64-manylinux_2_42", "glibc: wheels of x86_64-manylinux_2_42 may be"),
        "user": ("somebody", "user: somebody is promised, this is user"),
        "uid": ("1001", "uid: 1001 is promised, this is 1000"),
        "gid": ("1000", "gid: 1000 is promised, this is 100"),
        "home": ("/root", "home: /root is promised, this is /home/user"),
        "cell": ("jax-0.12.0.1-cpu", f"label cell: it says {CELL}, and what was promised is jax"),
        "key": ("a1", "and what was promised is a1"),
        "base": ("sha256:a1", "label base: it says sha256:"),
        "base-source": ("registry", "label base-source: it says bootstrap"),
        "packages": ("sha256:a1", "packages: sha256:a1 is promised, installed is sha256:"),
    },
    "a CUDA image's": {
        "cuda": ("13.2", "cuda: the tag says 13.2, the framework is a CPU build"),
        "nccl": ("2.30.7", "nccl: one is to be installed, found none"),
        "architectures": ("sm_90", "architectures: the framework's library has no GPU code"),
        "python": ("3", "python: the tag says 3, this is 3.13."),
        "flavour": ("devel", "flavour: devel promises Python's headers"),
        "paired_packages": ("torchvision==0.30.0", "0.30.0 is promised, installed is none"),
        "platform": ("aarch64-manylinux_2_28", "platform: the wheels are for aarch64"),
    },
    "another package's": {
        "package": ("tensorflow-cpu", "package: the tag says 0.12.0.1, found none"),
        "flavour": ("workspace", "flavour: workspace promises jupyterlab"),
    },
}


@pytest.mark.parametrize("name", TAGS)
def test_a_tag_that_lies_fails(
    name: str, container: RunningContainer, jax_image: BuiltImage
) -> None:
    lies = {axis: value for axis, (value, _) in TAGS[name].items()}
    axes = json.loads(cell_json(jax_image.planned)) | lies
    verdict = check_verdict(container, jax_image, CHECK, DLIMG_CELL=json.dumps(axes))
    assert verdict.status is CheckStatus.FAILED
    reasons = [reason for _, reason in TAGS[name].values()]
    assert [reason for reason in reasons if reason not in verdict.reason] == []


@pytest.mark.parametrize("axis", first_values(["cuda", "version", "uid"], 1, pytest.mark.sabotage))
def test_a_tag_with_one_lie_fails(
    axis: str, container: RunningContainer, jax_image: BuiltImage
) -> None:
    (value, reason), *_ = [lies[axis] for lies in TAGS.values() if axis in lies]
    axes = json.loads(cell_json(jax_image.planned)) | {axis: value}
    verdict = check_verdict(container, jax_image, CHECK, DLIMG_CELL=json.dumps(axes))
    assert verdict.status is CheckStatus.FAILED
    assert reason in verdict.reason


LABELS: dict[str, dict[str, tuple[str | None, str]]] = {
    "others": {
        "io.dlimg.os": ("debian12", "label os: it says debian12"),
        "io.dlimg.cudnn": ("9.26.0.51", "label cudnn: it says 9.26.0.51"),
        "io.dlimg.version": ("0.12.0", "label version: it says 0.12.0"),
        "io.dlimg.driver": ("580", "label driver: it says 580, and what was promised is nothing"),
        "io.dlimg.base-os": ("debian12", "label base-os: it says debian12"),
        "io.dlimg.wheels": ("jax==0.12.0.1", "label wheels: it names jaxlib not (installed 0.12"),
        "io.dlimg.packages": ("sha256:a1", "label packages: it says sha256:a1"),
        "org.opencontainers.image.version": ("0.12.0", "image.version: it says 0.12.0"),
    },
    "none": {
        "io.dlimg.python": (None, "label python: it says nothing"),
        "io.dlimg.wheels": (None, "label wheels: there is none"),
        "io.dlimg.packages": (None, "label packages: it says nothing"),
    },
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_that_lie_fail(
    name: str, container: RunningContainer, jax_image: BuiltImage, engine: Engine
) -> None:
    lies = {label: value for label, (value, _) in LABELS[name].items()}
    labels = engine.sdk.images.get(jax_image.digest).labels | lies
    text = json.dumps({label: value for label, value in labels.items() if value is not None})
    verdict = check_verdict(container, jax_image, CHECK, DLIMG_LABELS=text)
    assert verdict.status is CheckStatus.FAILED
    reasons = [reason for _, reason in LABELS[name].values()]
    assert [reason for reason in reasons if reason not in verdict.reason] == []


@pytest.mark.parametrize(
    "text", first_values(["", "{}", "[]", '{"maintainer": "somebody"}'], 1, pytest.mark.sabotage)
)
def test_without_labels_nothing_passes(
    text: str, container: RunningContainer, jax_image: BuiltImage
) -> None:
    verdict = check_verdict(container, jax_image, CHECK, DLIMG_LABELS=text)
    assert verdict.status is CheckStatus.FAILED
    assert "labels: the image has none" in verdict.reason or "DLIMG_LABELS" in verdict.reason


@pytest.mark.parametrize("text", first_values(["", "[]", "{}", "{"], 2, pytest.mark.sabotage))
def test_without_a_tag_nothing_passes(
    text: str, container: RunningContainer, jax_image: BuiltImage
) -> None:
    verdict = check_verdict(container, jax_image, CHECK, DLIMG_CELL=text)
    assert verdict.status is (CheckStatus.FAILED if text in ("[]", "{") else CheckStatus.NOT_RUN)
    assert "DLIMG_CELL" in verdict.reason


CPU = "cuda: the tag says cpu, but there is"
OTHER_PACKAGES = "packages: sha256:"
IMAGES = {
    "cuDNN, another JAX, another home": [
        sabotage(CUDNN, f"{CPU} {PACKAGES}/nvidia/cudnn/lib/libcudnn.so.9"),
        sabotage(
            distribution(OVERLAY, "jax", "0.11.0"), "package: the tag says 0.12.0.1, found 0.11.0"
        ),
        sabotage("sed -i s/13/12/ /etc/os-release", "os: the tag says debian13, this is debian12"),
        sabotage(
            "sed -i s,/home/user,/srv, /etc/passwd", "home: /home/user is promised, this is /srv"
        ),
        sabotage(f"printf '{PACKAGE}' 'ok installed' >> /var/lib/dpkg/status", OTHER_PACKAGES),
    ],
    "cuDNN beside jaxlib, another version, another number of the user": [
        sabotage(f"touch {PACKAGES}/jaxlib/libcudnn.so.9", "jaxlib/libcudnn.so.9"),
        sabotage(
            f"cd {PACKAGES}/jax; rm __pycache__/version.*; sed -i s/0.12.0.1/0.12.0.2/ version.py",
            "version: the tag says 0.12.0.1, found 0.12.0.2",
        ),
        sabotage(
            "sed -i s/:1000:100:/:1234:100:/ /etc/passwd", "user: user is promised, this is none"
        ),
        sabotage(
            f"printf '{PACKAGE}' 'ok half-configured' >> /var/lib/dpkg/status", OTHER_PACKAGES
        ),
    ],
    "cuDNN of the system, another group, a package more": [
        sabotage("touch /usr/lib/x86_64-linux-gnu/libcudnn_ops.so.9", "/usr/lib/"),
        sabotage("sed -i s/:1000:100:/:1000:0:/ /etc/passwd", "promised, this is 100 and 0"),
        sabotage(
            installed(f"--target {PACKAGES}"), "wheels: it names greeting not (installed 1.0)"
        ),
        sabotage("sed -i '0,/^Version: /s//&9/' /var/lib/dpkg/status", OTHER_PACKAGES),
    ],
    "a toolkit, another jaxlib": [
        sabotage(
            "mkdir -p /usr/local/cuda; touch /usr/local/cuda/libcudart.so.13", "/usr/local/cuda/"
        ),
        sabotage(
            distribution(OVERLAY, "jaxlib", "0.11.0"), "jaxlib 0.12.0.1 is promised, installed is"
        ),
        sabotage("dpkg --remove --force-depends tini", OTHER_PACKAGES),
    ],
    "CUDA in the home, GPU code": [
        sabotage(f"touch {OVERLAY}/libcudart.so.13", f"{OVERLAY}/libcudart.so.13"),
        sabotage(GPU_CODE, "architectures: the tag says cpu, and there is GPU code for sm_90"),
        sabotage(": > /var/lib/dpkg/status", OTHER_PACKAGES),
    ],
    "NCCL, cuBLAS, another Python": [
        sabotage(NCCL, f"{CPU} {PACKAGES}/nvidia/nccl/lib/libnccl.so.2"),
        sabotage(distribution(PACKAGES, "nvidia-cublas", "13.0"), "nvidia-cublas is installed"),
        sabotage("mkdir -p /opt/python; ln -s cpython-3.13.9 /opt/python/current", OTHER_PACKAGES),
    ],
}


@pytest.mark.parametrize(
    "sabotages", first_values(IMAGES.values(), 1, pytest.mark.sabotage), ids=IMAGES
)
def test_an_image_that_its_tag_does_not_tell_of_fails(
    sabotages: list[Sabotage], engine: Engine, jax_image: BuiltImage
) -> None:
    with spoilt_container(engine, jax_image, script_of(sabotages)) as running:
        verdict = check_verdict(running, jax_image, CHECK)
    assert verdict.status is CheckStatus.FAILED
    assert unnamed(sabotages, verdict.reason) == [], verdict.reason


def test_an_image_that_runs_as_root_fails(engine: Engine, jax_image: BuiltImage) -> None:
    with spoilt_container(engine, jax_image, user="0") as running:
        verdict = check_verdict(running, jax_image, CHECK)
    assert (verdict.status, verdict.reason) == (CheckStatus.FAILED, "user: this runs as root")
