"""The settings of sshd for the mode `ssh`: public keys alone, and the container's variables."""

import base64
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOTS_PORT, PORT = "22", "2222"
KEY_TYPES = ("ed25519", "ecdsa")
HOST_KEYS = Path("/etc/ssh")
# The lines of these variables are public keys.
VARIABLES = ("PUBLIC_KEY", "SSH_PUBLIC_KEY")
KEY = re.compile(
    r"(?:.*\s)?((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+)[ \t]+([A-Za-z0-9+/=]{32,})(?:\s.*)?"
)
# Between keys; some hosts and files of variables keep the two characters of `\\n`.
LINE_END = re.compile(r"[\r\n]+|\\n(?=(?:ssh|ecdsa|sk)-)")
PRIVATE = ("PRIVATE KEY-----", "PuTTY-User-Key-File")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Of the shell that starts sshd, or sshd's own for each session.
OF_SHELLS = frozenset({"_", "PWD", "OLDPWD", "SHLVL", "TERM", "SHELL", "MAIL", "SSH_AUTH_SOCK"})
OF_USERS = frozenset({"HOME", "USER", "LOGNAME"})


class Plan(NamedTuple):
    command: list[str]
    messages: list[str]


class Account(NamedTuple):
    """A user of this container, with the home that the entry point has given."""

    name: str
    number: int
    home: Path


def plan(options: Sequence[str], environment: Mapping[str, str]) -> Plan:
    """Write keys and settings, and return how to start sshd.

    Raises ValueError for a container into which nobody can, or nobody should, log in.
    """
    program = shutil.which("sshd", path=f"{environment.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise ValueError(
            "this image has no sshd: take the same tag with `-workspace` at its end, or, as "
            "root, `apt-get install openssh-server`"
        )
    account = account_of(environment)
    keys = list(public_keys(environment, account))
    folder = settings_folder(account)
    allowed = folder / "dlimg_authorized_keys"
    write(allowed, "".join(f"{key}\n" for key in keys), 0o644)
    host_keys = list(made_host_keys(account, environment))
    port = port_of(account, environment)
    lines = settings(account, port, allowed, host_keys)
    sent, unsent = session_variables(environment, is_root=account.number == 0)
    config = folder / "dlimg_sshd_config"
    write(config, "".join(f"{line}\n" for line in (*lines, *sent)), 0o600)
    host_key = fingerprint(host_keys[0])
    messages = [f"sshd answers {account.name} on port {port}, by public key; host key {host_key}"]
    if unsent:
        messages.append(f"ssh sessions lack {', '.join(unsent)}: sshd passes no line breaks on")
    return Plan([program, "-D", "-e", "-f", str(config), *options], messages)


def settings_folder(account: Account) -> Path:
    """Return a folder for keys and settings; all users that root's sshd serves can read it."""
    folder = own_folder(account)
    if account.number == 0 and os.access("/run", os.W_OK):
        folder = Path("/run/dlimg-ssh")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"sshd's settings need the folder {folder}: {error.strerror}") from None
    return folder


def own_folder(account: Account) -> Path:
    """Return the folder for keys in the home; a file mounted in `.ssh` makes that one root's."""
    return account.home / ".config/dlimg-ssh"


def account_of(environment: Mapping[str, str]) -> Account:
    number = os.geteuid()
    try:
        row = pwd.getpwuid(number)
    except KeyError:
        raise ValueError(
            f"sshd knows no user with the number {number}: start the container without `--user`, "
            "or with `--user 0`"
        ) from None
    return Account(row.pw_name, number, Path(environment.get("HOME") or row.pw_dir))


def public_keys(environment: Mapping[str, str], account: Account) -> Iterator[str]:
    """Yield the keys that may log in: from variables and from mounted files.

    Files are read here because sshd refuses those of other owners, as mounted files often are.
    Those of other users count where root's sshd serves them, and open no account but theirs.
    """
    keys = list(keys_of_variables(environment))
    own = Path(pwd.getpwuid(account.number).pw_dir)
    for home in dict.fromkeys((account.home, own)):
        keys += keys_of_file(home / ".ssh/authorized_keys")
    others = pwd.getpwall() if account.number == 0 else []
    if not keys and not any(
        keys_of_file(Path(row.pw_dir, ".ssh/authorized_keys")) for row in others
    ):
        raise ValueError(
            "ssh needs a public key, and takes no passwords: start the container with "
            '`-e PUBLIC_KEY="$(cat ~/.ssh/id_ed25519.pub)"`, or mount a file as '
            f"{own}/.ssh/authorized_keys"
        )
    yield from dict.fromkeys(keys)


def keys_of_variables(environment: Mapping[str, str]) -> Iterator[str]:
    for name in VARIABLES:
        text = environment.get(name, "").strip()
        if text[:1] == text[-1:] and text[:1] in ("'", '"'):  # as in a file of variables
            text = text[1:-1]
        for line in map(stripped, LINE_END.split(text)):
            if is_key(line):
                yield line
            elif line and not line.startswith("#"):
                raise ValueError(f"{name} {fault(line)}")


def keys_of_file(path: Path) -> list[str]:
    lines = list(map(stripped, readable_lines(path)))
    for line in lines:
        if is_private(line):
            raise ValueError(f"{path} {fault(line)}")
    return list(filter(is_key, lines))


def stripped(line: str) -> str:
    return line.strip("\ufeff \t\r\n")


def is_private(line: str) -> bool:
    return any(text in line for text in PRIVATE)


def is_key(line: str) -> bool:
    """Return whether a line has a public key, as a whole: its text names its kind and lengths."""
    match = KEY.fullmatch(line)
    if match is None:
        return False
    try:
        text = base64.b64decode(match[2], validate=True)
    except ValueError:
        return False
    at = 0
    while at < len(text):
        at += 4 + int.from_bytes(text[at : at + 4], "big")
    # Certificates have fields without a length, too.
    is_whole = at == len(text) or "-cert-" in match[1]
    return is_whole and text[4:].startswith(match[1].encode())


def fault(line: str) -> str:
    """Return the end of the sentence for a line that is no key; it never has the line's text."""
    if is_private(line):
        return (
            "holds a private key, which belongs on your machine alone: give the text of the file "
            "with `.pub` at its end, and make a new pair if somebody else can see this container"
        )
    if "SSH2 PUBLIC KEY" in line:
        return "holds a key in the format of SSH2: `ssh-keygen -i -f FILE` prints it as one line"
    if KEY.fullmatch(line):
        return "holds a public key that was cut or changed: give the whole line of its file"
    return "holds no public key: give the text of a file such as id_ed25519.pub"


def readable_lines(path: Path) -> list[str]:
    """Return the lines of a file; none where there is none. Raises ValueError if unreadable."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def port_of(account: Account, environment: Mapping[str, str]) -> str:
    port = environment.get("SSH_PORT") or (PORT if account.number else ROOTS_PORT)
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise ValueError(f"SSH_PORT={port} is no port: a number up to 65535")
    return port


def made_host_keys(account: Account, environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the host's private keys: existing ones, or else new ones in the home."""
    given = environment.get("SSH_HOST_KEYS", "")
    mounted = [HOST_KEYS / f"ssh_host_{kind}_key" for kind in KEY_TYPES]
    if not given and account.number == 0 and any(path.exists() for path in mounted):
        yield from (path for path in mounted if path.exists())
        return
    folder = Path(given) if given else own_folder(account)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for kind in KEY_TYPES:
            path = folder / f"ssh_host_{kind}_key"
            if not path.exists():
                make_key(path, kind)
            yield path
    except OSError as error:
        raise ValueError(f"no host key can be made in {folder}: {error.strerror}") from None


def make_key(path: Path, kind: str) -> None:
    """Make a key; of containers that start at once on one volume, the first one's stays."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(new)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"no host key can be made in {path.parent}: {done.stderr.strip()}")
    public = new.with_name(f"{new.name}.pub")
    try:
        os.link(new, path)
        public.replace(path.with_name(f"{path.name}.pub"))
    except FileExistsError:
        public.unlink()
    new.unlink()


def fingerprint(key: Path) -> str:
    command = ["ssh-keygen", "-l", "-f", str(key)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next((word for word in done.stdout.split() if word.startswith("SHA256:")), str(key))


def settings(
    account: Account, port: str, allowed: Path, host_keys: Sequence[Path]
) -> Iterator[str]:
    """Yield sshd's settings, but for the variables of its sessions."""
    yield "# Written by dlimg at each start."
    yield f"Port {port}"
    yield from (f"HostKey {key}" for key in host_keys)
    yield f"AuthorizedKeysFile {allowed} .ssh/authorized_keys"
    # Below a folder that everyone may write to, such as /tmp, sshd takes no file for safe.
    yield f"StrictModes {'yes' if is_safe(allowed) else 'no'}"
    yield from (
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitEmptyPasswords no",
        "PermitRootLogin prohibit-password",
        "UsePAM no",
        "PidFile none",
        "PrintMotd no",
        "AcceptEnv LANG LC_* COLORTERM",
        "Subsystem sftp /usr/lib/openssh/sftp-server",
    )
    if account.number:
        yield f"AllowUsers {account.name}"


def is_safe(path: Path) -> bool:
    """Return whether only root and this user may write to the folders above."""
    owners = (0, os.geteuid())
    above = [parent.stat() for parent in path.parents]
    return all(
        folder.st_uid in owners and not folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        for folder in above
    )


def session_variables(
    environment: Mapping[str, str], *, is_root: bool
) -> tuple[list[str], list[str]]:
    """Return the line that sets the sessions' variables, and the names of those it cannot set.

    Root's sshd serves several users, each with a home of its own.
    """
    left_out = OF_SHELLS | (OF_USERS if is_root else frozenset()) | frozenset(VARIABLES)
    values = {
        name: value
        for name, value in environment.items()
        if NAME.fullmatch(name) and name not in left_out
    }
    # Login shells set the search path anew, and profile.sh takes it from here.
    values["DLIMG_PATH"] = values.get("PATH", "")
    unsent = sorted(name for name, value in values.items() if "\n" in value or "\r" in value)
    assignments = [
        quoted(f"{name}={values[name]}") for name in sorted(values) if name not in unsent
    ]
    return [f"SetEnv {' '.join(assignments)}"], unsent


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def write(path: Path, text: str, mode: int) -> None:
    """Write a file, which nobody can read before it has its mode."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.chmod(mode)
    new.replace(path)
