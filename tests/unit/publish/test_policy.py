"""Who may be published, under which names; and what a labelled image may change."""

from dataclasses import replace
from typing import Any

import pytest

from dlimg.errors import BadInput, DlimgError, NotRun
from dlimg.model import BuiltImage, Check, CheckStatus, Evidence, Verdict
from dlimg.publish.policy import NOT_TESTED_ON_GPU, check_policy
from dlimg.publish.relabel import identity_of
from dlimg.publish.tags import (
    names_under,
    parse_labels,
    repositories_of_families,
)
from dlimg.registry.reference import check_destination
from tests.support import samples

DIGEST = "sha256:1"
CDI = "nvidia.com/gpu=all"


def built(accelerator: str = "cpu") -> BuiltImage:
    planned = samples.planned(samples.image(samples.cell(accelerator=accelerator)))
    return BuiltImage(planned=planned, digest=DIGEST, size=1, seconds=1.0, cached=False)


def evidence(*verdicts: Verdict, device: str = "none", digest: str = DIGEST) -> Evidence:
    return Evidence(
        digest=digest,
        cell="a-cell",
        device=device,
        day="2026-11-21",
        dlimg="0.1",
        engine="28",
        verdicts=verdicts,
    )


def verdict(status: CheckStatus, needs: str = "") -> Verdict:
    return Verdict(
        check=f"{needs or 'plain'}_{status}".replace("-", "_"),
        sha256="1",
        status=status,
        reason="",
        seconds=1.0,
        needs=frozenset({needs} - {""}),
    )


PASS, FAIL, NOT = (
    verdict(CheckStatus.PASSED),
    verdict(CheckStatus.FAILED),
    verdict(CheckStatus.NOT_RUN),
)
GPU_PASS, GPU_NOT = verdict(CheckStatus.PASSED, "gpu"), verdict(CheckStatus.NOT_RUN, "gpu")
CUDA = "cuda13.2"


@pytest.mark.parametrize(
    ("accelerator", "found", "allow_untested_gpu", "standing"),
    [
        ("cpu", evidence(PASS), False, "tested"),
        ("cpu", evidence(PASS), True, "tested"),
        (CUDA, evidence(PASS, GPU_PASS, device=CDI), False, "tested"),
        (CUDA, evidence(PASS, GPU_PASS, device=CDI), True, "tested"),
        (CUDA, evidence(PASS, GPU_NOT), True, NOT_TESTED_ON_GPU),
        (CUDA, evidence(PASS), True, NOT_TESTED_ON_GPU),
        (CUDA, evidence(PASS, GPU_PASS), True, NOT_TESTED_ON_GPU),
    ],
)
def test_images_that_may_be_published(
    accelerator: str, found: Evidence, standing: str, *, allow_untested_gpu: bool
) -> None:
    found_standing = check_policy(
        built(accelerator), found, digest=DIGEST, allow_untested_gpu=allow_untested_gpu, checks=()
    )
    assert found_standing == standing


@pytest.mark.parametrize(
    ("accelerator", "found", "digest", "allow_untested_gpu", "code", "message"),
    [
        ("cpu", None, DIGEST, False, 1, "not tested"),
        ("cpu", evidence(), DIGEST, False, 1, "not tested"),
        ("cpu", evidence(PASS, FAIL), DIGEST, False, 1, "checks failed: plain_failed"),
        (CUDA, evidence(PASS, FAIL), DIGEST, True, 1, "checks failed"),
        ("cpu", evidence(PASS), "sha256:2", False, 1, "but sha256:1 was tested"),
        ("cpu", evidence(PASS), "", False, 1, "is gone"),
        ("cpu", evidence(PASS, digest="sha256:2"), DIGEST, False, 1, "but sha256:2 was tested"),
        ("cpu", evidence(PASS, NOT), DIGEST, True, 3, "not run: plain_not_run"),
        ("cpu", evidence(replace(PASS, required=False)), DIGEST, False, 3, "is required"),
        ("cpu", evidence(PASS, GPU_NOT), DIGEST, True, 3, "not run: gpu_not_run"),
        (CUDA, evidence(NOT, GPU_NOT), DIGEST, True, 3, "not run: plain_not_run"),
        (CUDA, evidence(PASS, GPU_NOT), DIGEST, False, 3, "not tested on a GPU"),
        (CUDA, evidence(PASS), DIGEST, False, 3, "not tested on a GPU"),
        (CUDA, evidence(PASS, device=CDI), DIGEST, False, 3, "not tested on a GPU"),
        (CUDA, evidence(PASS, GPU_PASS), DIGEST, False, 3, "not tested on a GPU"),
    ],
)
def test_images_that_may_not_be_published(  # a row says all
    accelerator: str,
    found: Evidence | None,
    digest: str,
    *,
    allow_untested_gpu: bool,
    code: int,
    message: str,
) -> None:
    with pytest.raises(DlimgError, match=message) as raised:
        check_policy(
            built(accelerator),
            found,
            digest=digest,
            allow_untested_gpu=allow_untested_gpu,
            checks=(),
        )
    assert raised.value.exit_code == code


def test_the_full_tag_moves_before_the_aliases() -> None:
    planned = samples.planned(
        samples.image(tag="2.15.0-cpu", aliases=("2.15", "latest")), key="0" * 64
    )
    names = names_under("127.0.0.1:5000/team", planned, "tested")
    assert names.repository == "127.0.0.1:5000/team/pytorch"
    assert names.tag == "2.15.0-cpu-000000000000"
    assert names.moving == ("2.15.0-cpu", "2.15", "latest")
    assert names.reference("x") == "127.0.0.1:5000/team/pytorch:x"
    untested = names_under("ghcr.io/team", planned, NOT_TESTED_ON_GPU)
    assert untested.tag == "2.15.0-cpu-000000000000-not-gpu-tested"


@pytest.mark.parametrize(
    "to", ["", "https://ghcr.io/team", "ghcr.io/Team", "ghcr.io/team/", "a b", "ghcr.io/team\n"]
)
def test_an_invalid_destination_is_refused(to: str) -> None:
    with pytest.raises(BadInput, match="no prefix at a registry"):
        check_destination(to)
    with pytest.raises(BadInput, match="no prefix at a registry"):
        names_under(to, samples.planned(), "tested")


@pytest.mark.parametrize("to", ["ghcr.io/team", "127.0.0.1:5000", "[::1]:5000/a/b-c", "host"])
def test_valid_destinations(to: str) -> None:
    check_destination(to)


@pytest.mark.parametrize(
    ("about", "labels"),
    [
        ({"config": {"Labels": {"a": "b"}}}, {"a": "b"}),
        ({"config": {"Labels": None}}, {}),
        ({"config": {}}, {}),
        ({"linux/amd64": {"config": {"Labels": {"a": "b"}}}}, {}),
        ({"config": []}, {}),
        ({}, {}),
        ([], {}),
    ],
)
def test_labels_are_parsed_from_any_config(about: object, labels: dict[str, str]) -> None:
    assert parse_labels(about) == labels


def test_the_repositories_of_all_families() -> None:
    assert repositories_of_families("127.0.0.1:5000/team", ["jax", "pytorch", "jax"]) == (
        "team/jax",
        "team/pytorch",
    )
    assert repositories_of_families("somebody", ["jax"]) == ("somebody/jax",)


ATTRIBUTES: dict[str, Any] = {
    "RootFS": {"Layers": ["sha256:a", "sha256:b"]},
    "Config": {"Env": ["A=1"], "Cmd": ["bash"], "Labels": {"io.dlimg.key": "1"}},
}


def test_a_labelled_image_differs_in_that_label_alone() -> None:
    labels = {"io.dlimg.key": "1", "io.dlimg.gpu-tested": "no"}
    assert identity_of(ATTRIBUTES) == identity_of(
        {**ATTRIBUTES, "Config": {**ATTRIBUTES["Config"], "Labels": labels, "Image": "sha256:1"}}
    )


@pytest.mark.parametrize(
    "other",
    [
        {"RootFS": {"Layers": ["sha256:a"]}, "Config": ATTRIBUTES["Config"]},
        {**ATTRIBUTES, "Config": {**ATTRIBUTES["Config"], "Env": ["A=2"]}},
        {**ATTRIBUTES, "Config": {**ATTRIBUTES["Config"], "Labels": {"io.dlimg.key": "2"}}},
        {**ATTRIBUTES, "Config": {**ATTRIBUTES["Config"], "Labels": None}},
    ],
)
def test_other_differences_are_detected(other: dict[str, dict[str, object]]) -> None:
    assert identity_of(ATTRIBUTES) != identity_of(other)


def test_checks_that_are_not_required_may_not_run() -> None:
    optional = replace(NOT, required=False)
    result = evidence(PASS, optional)
    assert (
        check_policy(built(), result, digest=DIGEST, allow_untested_gpu=False, checks=())
        == "tested"
    )


CHECK = Check(name=PASS.check, path="x", script="", sha256=PASS.sha256, proves="", required=True)


def test_evidence_of_the_checks_of_today_is_enough() -> None:
    optional = replace(CHECK, name="another", required=False)
    result = evidence(PASS)
    checks = (CHECK, optional)
    assert (
        check_policy(built(), result, digest=DIGEST, allow_untested_gpu=False, checks=checks)
        == "tested"
    )


@pytest.mark.parametrize(
    "check", [replace(CHECK, name="another"), replace(CHECK, sha256="2")], ids=["new", "changed"]
)
def test_evidence_of_other_checks_is_not_enough(check: Check) -> None:
    with pytest.raises(NotRun, match=f"no verdict of the current {check.name}"):
        check_policy(
            built(), evidence(PASS), digest=DIGEST, allow_untested_gpu=False, checks=(CHECK, check)
        )
