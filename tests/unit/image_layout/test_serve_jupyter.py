"""Settings of the mode `jupyter`, from variables and options."""

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.layout_scripts import load_script

serve_jupyter = load_script("serve_jupyter")


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Variables of a container that has JupyterLab."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "jupyter-lab").touch(mode=0o755)
    return {"PATH": str(tmp_path)}


def settings_of(plan: Any) -> dict[str, Any]:
    folder = Path(plan.variables["JUPYTER_CONFIG_PATH"].partition(":")[0])
    assert folder.stat().st_mode & 0o777 == 0o700
    return dict(json.loads((folder / "jupyter_server_config.json").read_text()))


@pytest.mark.parametrize(
    ("given", "server"),
    [
        ({}, {}),
        ({"PORT": "9000"}, {"port": 9000}),
        ({"PORT": "9000", "JUPYTER_PORT": "9001"}, {"port": 9001}),
        ({"PORT": "9000", "JUPYTER_PORT": ""}, {"port": 9000}),
        (
            {"NB_PREFIX": "/notebook/ns/name"},
            {"base_url": "/notebook/ns/name/", "allow_origin": "*", "trust_xheaders": True},
        ),
        ({"NB_PREFIX": "/"}, {"allow_origin": "*", "trust_xheaders": True}),
        ({"JUPYTER_BASE_URL": "lab"}, {"base_url": "/lab/"}),
        (
            {"JUPYTER_PUBLIC_URL": "https://gpu.example.org:8443/a/b"},
            {
                "base_url": "/a/b/",
                "allow_origin": "https://gpu.example.org:8443",
                "custom_display_url": "https://gpu.example.org:8443/a/b",
                "trust_xheaders": True,
            },
        ),
    ],
)
def test_variables_of_hosts_become_settings(
    given: dict[str, str], server: dict[str, object], variables: dict[str, str]
) -> None:
    plan = serve_jupyter.plan((), {**variables, **given})
    assert plan.command == ["jupyter", "lab"]
    assert settings_of(plan) == {"ServerApp": {"port_retries": 0, **server}}
    assert plan.variables["JUPYTER_CONFIG_PATH"].endswith(":/opt/env/etc/jupyter")


def test_the_token_is_asked_for_but_behind_a_gateway_of_kubeflow(variables: dict[str, str]) -> None:
    prefix = {"NB_PREFIX": "/a", **variables}
    pod = {**prefix, "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert "IdentityProvider" not in settings_of(serve_jupyter.plan((), prefix))
    assert settings_of(serve_jupyter.plan((), pod))["IdentityProvider"] == {"token": ""}
    with_token = serve_jupyter.plan((), {**pod, "JUPYTER_TOKEN": "secret"})
    assert "IdentityProvider" not in settings_of(with_token)


def test_a_password_alone_is_the_token_and_beside_one_a_password(
    variables: dict[str, str],
) -> None:
    alone = serve_jupyter.plan((), {**variables, "JUPYTER_PASSWORD": "word"})
    assert alone.variables == {**alone.variables, "JUPYTER_TOKEN": "word"}
    both = serve_jupyter.plan(
        (), {**variables, "JUPYTER_PASSWORD": "word", "JUPYTER_TOKEN": "other"}
    )
    assert "JUPYTER_TOKEN" not in both.variables
    hashed = settings_of(both)["PasswordIdentityProvider"]["hashed_password"]
    algorithm, salt, digest = hashed.split(":")
    assert algorithm == "sha256"
    assert digest == hashlib.sha256(f"word{salt}".encode()).hexdigest()
    assert "word" not in " ".join(both.command)


def test_colab_may_use_it_and_is_told_the_address(variables: dict[str, str]) -> None:
    plan = serve_jupyter.plan(("--colab", "--port", "9999"), variables)
    assert plan.command == ["jupyter", "lab", "--port", "9999"]
    assert settings_of(plan)["ServerApp"] == {
        "port_retries": 0,
        "allow_origin": "https://colab.research.google.com",
        "allow_credentials": True,
    }
    token = plan.variables["JUPYTER_TOKEN"]
    assert re.fullmatch("[0-9a-f]{48}", token)
    assert plan.messages[-1].endswith(f"http://localhost:9999/?token={token}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("0", 0),
        ("7200", 7200),
        ("2h", 7200),
        ("90m", 5400),
        ("1h30m", 5400),
        ("1.5h", 5400),
    ],
)
def test_an_idle_time_is_a_number_with_a_unit(
    text: str, seconds: int, variables: dict[str, str]
) -> None:
    plan = serve_jupyter.plan((), {**variables, "DLIMG_IDLE": text})
    settings = settings_of(plan)
    assert plan.idle == seconds
    assert ("MappingKernelManager" in settings) == bool(seconds)
    if seconds:
        assert settings["MappingKernelManager"]["cull_idle_timeout"] == seconds
        assert settings["ServerApp"]["shutdown_no_activity_timeout"] == seconds
        assert text in plan.messages[0]
    else:
        assert "DLIMG_IDLE=2h" in plan.messages[0]


@pytest.mark.parametrize(
    ("given", "token"),
    [
        ({"JUPYTER_TOKEN": "a b\n"}, "a b"),
        ({"JUPYTER_TOKEN": "  "}, ""),
        ({"JUPYTER_TOKEN": " ", "JUPYTER_PASSWORD": "p$w\"x' 你好\n"}, "p$w\"x' 你好"),
        ({"JUPYTER_TOKEN": "plain"}, None),
    ],
)
def test_blanks_at_the_ends_of_a_secret_are_left_out(
    given: dict[str, str], token: str | None, variables: dict[str, str]
) -> None:
    plan = serve_jupyter.plan((), {**variables, **given})
    assert plan.variables.get("JUPYTER_TOKEN") == token


def test_without_a_temporary_folder_the_remedy_is_named(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(ValueError, match="`--tmpfs /tmp`"):
        serve_jupyter.plan((), variables)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"DLIMG_IDLE": "tomorrow"}, "DLIMG_IDLE=tomorrow is no time"),
        ({"DLIMG_IDLE": "2h later"}, "is no time"),
        ({"PORT": "tcp://10.0.0.1:80"}, "PORT=tcp://10.0.0.1:80 is no port"),
        ({"PORT": "65536"}, "is no port"),
        ({"PORT": "٨٨٨٨"}, "PORT=٨٨٨٨ is no port"),
        ({"PORT": "9000", "JUPYTER_PORT": "lab"}, "JUPYTER_PORT=lab is no port"),
        ({"JUPYTER_PUBLIC_URL": "gpu.example.org"}, "is no address"),
        ({"NB_PREFIX": "/a?b"}, "/a?b is no path for Jupyter's address"),
        ({"JUPYTER_BASE_URL": "/a b"}, "/a b is no path for Jupyter's address"),
        ({"PATH": "/nowhere"}, "take the same tag with `-workspace` at its end"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    given: dict[str, str], message: str, variables: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        serve_jupyter.plan((), {**variables, **given})
