"""Settings of sshd in the mode `ssh`: whose keys, which variables."""

import base64
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.layout_scripts import load_script

serve_ssh = load_script("serve_ssh")


def public(kind: str, *fields: bytes) -> str:
    """The text of a public key: its kind and its fields, each after its length."""
    parts = (kind.encode(), *fields)
    text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"{kind} {base64.b64encode(text).decode()}"


ED25519 = public("ssh-ed25519", bytes(32))
RSA = public("ssh-rsa", b"\1\0\1", bytes(385)) + " me@my machine"
SECURITY_KEY = public("sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:")
CERTIFICATE = public("ssh-ed25519-cert-v01@openssh.com", bytes(32), bytes(32)) + "AAAAAAAAAAE="
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END"


@pytest.fixture
def account(tmp_path: Path) -> object:
    return serve_ssh.Account("user", os.geteuid(), tmp_path)


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ({"PUBLIC_KEY": ED25519}, [ED25519]),
        ({"SSH_PUBLIC_KEY": f"{RSA}\n"}, [RSA]),
        (
            {"PUBLIC_KEY": f"# mine\n{ED25519}\n\n{SECURITY_KEY}\n", "SSH_PUBLIC_KEY": RSA},
            [ED25519, SECURITY_KEY, RSA],
        ),
        ({"PUBLIC_KEY": f'restrict,command="true" {RSA}'}, [f'restrict,command="true" {RSA}']),
        ({"PUBLIC_KEY": f"{ED25519} me  \r\n{RSA}\t\r\n"}, [f"{ED25519} me", RSA]),
        ({"PUBLIC_KEY": f"\ufeff{ED25519}\n"}, [ED25519]),
        ({"PUBLIC_KEY": f'"{ED25519} me"'}, [f"{ED25519} me"]),
        ({"PUBLIC_KEY": f"{RSA}\\n{SECURITY_KEY} me"}, [RSA, f"{SECURITY_KEY} me"]),
        ({"PUBLIC_KEY": ED25519.replace(" ", "\t ")}, [ED25519.replace(" ", "\t ")]),
        ({"PUBLIC_KEY": f"cert-authority {CERTIFICATE} ca"}, [f"cert-authority {CERTIFICATE} ca"]),
        ({"PUBLIC_KEY": " \n", "SSH_PUBLIC_KEY": ""}, []),
    ],
)
def test_keys_of_variables_may_log_in(given: dict[str, str], keys: list[str]) -> None:
    assert list(serve_ssh.keys_of_variables(given)) == keys


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (PRIVATE, "holds a private key"),
        (PRIVATE.replace("\n", " "), "holds a private key"),
        (f"{ED25519}\n{PRIVATE}", "holds a private key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n", "holds a private key"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA", "`ssh-keygen -i -f FILE`"),
        (RSA.replace("AA= me@", " me@"), "was cut or changed"),
        (RSA[:200], "was cut or changed"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa"), "was cut or changed"),
        ("~/.ssh/id_ed25519.pub", "holds no public key"),
        ("ssh-ed25519", "holds no public key"),
        ("password", "holds no public key"),
    ],
)
def test_a_text_that_is_no_public_key_is_refused_and_never_shown(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match="PUBLIC_KEY holds") as error:
        list(serve_ssh.keys_of_variables({"PUBLIC_KEY": text}))
    assert fault in str(error.value)
    assert "c2VjcmV0" not in str(error.value)
    assert "password" not in str(error.value)


def test_keys_of_variables_and_of_a_mounted_file_count_once(
    account: object, tmp_path: Path
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/authorized_keys").write_bytes(f"{ED25519} a b\r\n{RSA}\r\n".encode())
    given = {"PUBLIC_KEY": f"{RSA}\n{SECURITY_KEY}", "SSH_PUBLIC_KEY": RSA}
    keys = list(serve_ssh.public_keys(given, account))
    assert keys[:3] == [RSA, SECURITY_KEY, f"{ED25519} a b"]
    assert len(keys) == len(set(keys))


def test_a_private_key_that_is_mounted_is_refused(account: object, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/authorized_keys").write_text(PRIVATE)
    with pytest.raises(ValueError, match="authorized_keys holds a private key"):
        list(serve_ssh.public_keys({}, account))


def test_keys_of_a_mounted_file_may_log_in(account: object, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/authorized_keys").write_text(f"# a comment\n{ED25519}\nnonsense\n")
    assert ED25519 in list(serve_ssh.public_keys({}, account))


def test_without_a_key_nothing_starts(account: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_ssh, "readable_lines", lambda _: [])
    with pytest.raises(ValueError, match="ssh needs a public key, and takes no passwords"):
        list(serve_ssh.public_keys({}, account))


def test_sessions_get_the_variables_of_the_container() -> None:
    given = {
        "PATH": "/home/user/env/bin:/usr/bin",
        "JSON": '{"a": ["b", "c d"], "e": "\\\\n"}',
        "HASH": "# $HOME `id`",
        "HOME": "/home/user",
        "LINES": "first\nsecond",
        "PUBLIC_KEY": ED25519,
        "SHLVL": "1",
        "not a name": "x",
    }
    (line,), unsent = serve_ssh.session_variables(given, is_root=False)
    assert unsent == ["LINES"]
    word, *pairs = shlex.split(line)
    assert word == "SetEnv"
    assert dict(pair.split("=", 1) for pair in pairs) == {
        **{name: given[name] for name in ("PATH", "JSON", "HASH", "HOME")},
        "DLIMG_PATH": given["PATH"],
    }
    (line,), _ = serve_ssh.session_variables(given, is_root=True)
    assert "HOME=" not in line.replace("$HOME", "")


@pytest.mark.parametrize(
    ("number", "given", "port"),
    [(0, {}, "22"), (1000, {}, "2222"), (1000, {"SSH_PORT": "2200"}, "2200")],
)
def test_without_root_the_port_is_above_1024(
    number: int, given: dict[str, str], port: str, tmp_path: Path
) -> None:
    assert serve_ssh.port_of(serve_ssh.Account("user", number, tmp_path), given) == port


@pytest.mark.parametrize("port", ["0", "70000", "ssh", "٢٢"])
def test_a_wrong_port_is_refused(port: str, account: object) -> None:
    with pytest.raises(ValueError, match=re.escape(f"SSH_PORT={port} is no port")):
        serve_ssh.port_of(account, {"SSH_PORT": port})


def test_host_keys_are_made_once_and_stay(account: object, tmp_path: Path) -> None:
    given = {"SSH_HOST_KEYS": str(tmp_path / "keys")}
    first = {path: path.read_text() for path in serve_ssh.made_host_keys(account, given)}
    assert [path.name for path in first] == ["ssh_host_ed25519_key", "ssh_host_ecdsa_key"]
    assert {path: path.read_text() for path in serve_ssh.made_host_keys(account, given)} == first
    names = sorted(path.name for path in (tmp_path / "keys").iterdir())
    assert len(names) == 4
    for path in first:
        assert path.stat().st_mode & 0o777 == 0o600
        public = subprocess.run(
            ["ssh-keygen", "-y", "-f", str(path)], capture_output=True, text=True, check=True
        )
        assert public.stdout.split()[:2] == Path(f"{path}.pub").read_text().split()[:2]


def test_settings_allow_keys_alone(account: object, tmp_path: Path) -> None:
    lines = list(serve_ssh.settings(account, "2222", tmp_path / "allowed", [tmp_path / "key"]))
    for line in (
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitEmptyPasswords no",
        "PermitRootLogin prohibit-password",
    ):
        assert line in lines
