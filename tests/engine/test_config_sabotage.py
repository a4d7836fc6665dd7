"""`runtime_entrypoint` refuses an image whose config is not that of layout, lock and matrix."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from dlimg.checks.execute import RunningContainer
from dlimg.checks.inputs import make_inputs
from dlimg.model import CheckStatus
from tests.support import small_images
from tests.support.layout_image import LayoutImage
from tests.support.rows import first_values
from tests.support.runtime_checks import check_verdict, spoilt_container

pytestmark = pytest.mark.engine

CHECK = "runtime_entrypoint"
UNSTATED = "which neither layout nor matrix states"
VARIABLES = {
    "LD_PRELOAD": "/lib/x86_64-linux-gnu/libm.so.6",
    "LD_LIBRARY_PATH": "/usr/lib",
    "LD_AUDIT": "",
    "PYTHONPATH": "/code",
    "PYTHONOPTIMIZE": "2",
    "PYTHONSTARTUP": "/code/x.py",
    "PIP_INDEX_URL": "https://example.com/simple",
    "PIP_EXTRA_INDEX_URL": "https://example.com/simple",
    "UV_INDEX": "https://example.com/simple",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "-1",
    "OMP_NUM_THREADS": "1",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
    "REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt",
    "HTTPS_PROXY": "http://example.com",
    "GIT_SSL_NO_VERIFY": "1",
    "BASH_ENV": "/etc/profile",
    "PROMPT_COMMAND": "true",
    "HOME": "/root",
    "DLIMG_QUIET": "1",
    "JUST_SO": "hidden",
}
ENTRYPOINT = '["/usr/bin/env", "A=hidden", "/usr/bin/tini", "-s", "--", "dlimg-entrypoint"]'
# Instructions of an image that is built on this one, and what is said of each.
CHANGES = {
    "variables that nobody states": {
        f"ENV {name}={value}": f"the image has the variable {name}, {UNSTATED}"
        for name, value in VARIABLES.items()
    },
    "variables with other values": {
        "ENV TZ=hidden": "the image's variable TZ is not as expected: UTC",
        "ENV SHELL=/bin/sh": "the image's variable SHELL is not as expected: /bin/bash",
        "ENV PIP_CONSTRAINT=": "the image's variable PIP_CONSTRAINT is not as expected: /etc/",
        "ENV PATH=/usr/bin:/bin": "the image's variable PATH is not as expected: /home/user/",
    },
    "settings and labels": {
        'CMD ["hidden"]': "the image's Cmd is not as expected: ['bash']",
        "EXPOSE 22": "the image's ExposedPorts is not as expected: not set",
        "VOLUME /data": "the image's Volumes is not as expected: not set",
        "ONBUILD RUN true": "the image's OnBuild is not as expected: not set",
        "STOPSIGNAL SIGKILL": "the image's StopSignal is not as expected: not set",
        "HEALTHCHECK CMD true": "the image's Healthcheck is not as expected: not set",
        'SHELL ["/bin/sh", "-c"]': "the image's Shell is not as expected: ['/bin/bash', '-euo'",
        "WORKDIR /data": "the image's WorkingDir is /data, not /code",
        "USER 0": "the image's User is 0, not two numbers",
        "LABEL vendor=hidden": f"the image has the label vendor, {UNSTATED}",
        "LABEL io.dlimg.key=hidden": "the image's label io.dlimg.key is not as expected: ",
        "LABEL io.dlimg.gpu-tested=yes": (
            f"the image has the label io.dlimg.gpu-tested, {UNSTATED}"
        ),
        "LABEL org.opencontainers.image.base.name=debian": (
            f"the image has the label org.opencontainers.image.base.name, {UNSTATED}"
        ),
        "LABEL org.opencontainers.image.revision=0123abc": (
            f"the image has the label org.opencontainers.image.revision, {UNSTATED}"
        ),
    },
    "another group, no health check, a folder more": {
        "USER user:0": "the image's User is user:0, not two numbers",
        "HEALTHCHECK NONE": "the image's Healthcheck is not as expected: not set",
        "ENV PATH=/tmp:$PATH": "the image's variable PATH is not as expected: /home/user/",
    },
    "another entry point": {f"ENTRYPOINT {ENTRYPOINT}": "the image's Entrypoint is ["},
}


@pytest.fixture(scope="module")
def container(layout_image: LayoutImage) -> Iterator[RunningContainer]:
    """A container of the image as it is."""
    with spoilt_container(layout_image) as running:
        yield running


def config_with(image: LayoutImage, instructions: str) -> Mapping[str, object]:
    """Return the config of an image that somebody builds on this one; the image itself is gone."""
    name = f"dlimg-test/spoilt-{secrets.token_hex(4)}"
    reference = image.built.planned.reference
    try:
        derived = small_images.derived_image(reference, instructions, name, image.engine)
        return dict(derived.attrs["Config"])
    finally:
        image.engine.sdk.images.remove(name)


@pytest.mark.parametrize("name", first_values(CHANGES, 2, pytest.mark.sabotage))
def test_an_image_that_is_started_otherwise_fails(
    name: str, container: RunningContainer, layout_image: LayoutImage
) -> None:
    config = config_with(layout_image, "\n".join(CHANGES[name]))
    inputs = make_inputs(layout_image.built.planned, {}, config).environment
    verdict = check_verdict(container, layout_image, CHECK, DLIMG_START=inputs["DLIMG_START"])
    assert verdict.status is CheckStatus.FAILED
    reasons = CHANGES[name].values()
    assert [reason for reason in reasons if reason not in verdict.reason] == [], verdict.reason
    if not any("Entrypoint" in reason for reason in reasons):
        assert "hidden" not in verdict.reason + verdict.output


def test_a_template_that_lies_does_not_pass(
    container: RunningContainer, layout_image: LayoutImage
) -> None:
    """The image is what its Dockerfile says, and both set what nobody states."""
    planned = layout_image.built.planned
    lying = replace(
        planned.image, dockerfile=f"{planned.image.dockerfile}ENV LD_PRELOAD=/code/x.so\n"
    )
    config = config_with(layout_image, "ENV LD_PRELOAD=x")
    inputs = make_inputs(replace(planned, image=lying), {}, config).environment
    verdict = check_verdict(container, layout_image, CHECK, DLIMG_START=inputs["DLIMG_START"])
    assert verdict.status is CheckStatus.FAILED
    assert f"the image has the variable LD_PRELOAD, {UNSTATED}" in verdict.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"actual": {"Entrypoint": ["sh"]}}', "the image's Entrypoint is ['sh'], not"),
        ("[]", "DLIMG_START is no JSON object of two"),
    ],
)
def test_a_config_that_is_not_complete_fails(
    text: str, reason: str, container: RunningContainer, layout_image: LayoutImage
) -> None:
    verdict = check_verdict(container, layout_image, CHECK, DLIMG_START=text)
    assert verdict.status is CheckStatus.FAILED
    assert reason in verdict.reason
