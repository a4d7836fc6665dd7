"""No password, token or private key is in the image's files, environment or history.

Only places and names are printed, never values. It runs as root, because a secret in an unreadable
file is published as well. Files of packages, such as a test's key, are compared by `pip_check`.

needs: image
seconds: 60
container: root
"""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _files
import _tag
import _verdict

LARGE = 1 << 18  # bytes: no larger file is a setting
PACKAGES = ("opt/env/", "opt/python/", "usr/lib/", "usr/share/", "var/lib/dpkg/", "tmp/dlimg/")
FILES = re.compile(
    r"[._]?netrc|\.pypirc|\.git-credentials|\.(bash|python|zsh)_history|\.dockercfg"
    r"|id_(rsa|dsa|ecdsa|ed25519)|\.env|\.htpasswd|\.pgpass"
)
PLACES = re.compile(
    r".*/(\.aws/credentials|\.docker/config\.json|\.kube/config|\.huggingface/token"
    r"|\.cache/huggingface/token|\.config/gh/hosts\.yml)|run/secrets/.+|etc/apt/auth\.conf(\.d/.+)?"
)
NAMES = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|(API|ACCESS|PRIVATE|SIGNING)[_-]?KEY|_AUTH$|NETRC",
    re.IGNORECASE,
)
# A URL with a password; keys in PEM; tokens of AWS, GitHub, GitLab, Hugging Face, PyPI, Slack.
VALUES = re.compile(
    rb"[a-z][a-z0-9+.-]*://[^\s/:@\"'<>]*:[^\s/@\"'<>]+@[^\s/]"
    rb"|-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY"
    rb"|\b(AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{50}|glpat-[\w-]{20}"
    rb"|hf_[A-Za-z0-9]{34}|pypi-[\w-]{50}|xox[abprs]-[\w-]{20})"
)
# `NAME=value` and `--name value` in a step of a build; not `name==1.0`, which is a package.
SET = re.compile(
    r"""(?<![\w-])(?P<name>-{0,2}[a-z_][\w-]*=(?!=)|--[a-z][\w-]*\s+)["']?(?P<value>[^\s"';]+)""",
    re.IGNORECASE,
)
# A step may say where a secret is mounted, and pass on what another variable holds.
NO_VALUE = ("$", "/run/secrets/")
# `useradd --password '*'` makes an account that no password opens.
LOCKED = ("*", "!")


def in_environment(variables: Mapping[str, str]) -> list[str]:
    """Return names of variables that hold a secret, by their name or value."""
    return [
        f"the environment holds a secret: {name}"
        for name, value in sorted(variables.items())
        if value and (NAMES.search(name) or VALUES.search(os.fsencode(value)))
    ]


def in_history(steps: Sequence[str]) -> list[str]:
    """Return steps of the image's history with a secret, numbered as in `docker history`.

    A variable that a step has had (`RUN TOKEN=...`, ARG, ENV) is there for everyone to read, even
    where it is in no file.
    """
    mismatches = []
    for number, step in enumerate(steps, 1):
        names = [name for name in assigned(step) if NAMES.search(name)]
        if names:
            mismatches.append(f"step {number} of the history holds a secret: {names[0]}")
        elif VALUES.search(os.fsencode(step)):
            mismatches.append(f"step {number} of the history holds a secret")
    return mismatches


def assigned(step: str) -> list[str]:
    """Return the names of variables and options that a build step sets to a value."""
    return [
        match["name"].strip("-= \t\n")
        for match in SET.finditer(step)
        if match["value"] not in LOCKED and not match["value"].startswith(NO_VALUE)
    ]


def steps_of(path: str) -> list[str]:
    """Return the steps of the image's history in this file; none without a file."""
    try:
        return [str(step) for step in json.loads(Path(path).read_text())] if path else []
    except (OSError, ValueError, TypeError) as error:
        return _verdict.fail(f"DLIMG_HISTORY names no list of steps: {error}")


def is_secret(path: str) -> bool:
    """Return whether a file of this path, from the root, usually holds secrets."""
    return bool(FILES.fullmatch(path.rpartition("/")[2]) or PLACES.fullmatch(path))


def holds_secret(entry: os.DirEntry[str]) -> bool:
    """Return whether this file contains a secret."""
    if _files.status(entry).st_size > LARGE:
        return False
    try:
        return bool(VALUES.search(Path(entry.path).read_bytes()))
    except OSError:
        return False  # not this user's to read, or gone


def in_files(top: Path, seen: _files.Seen) -> list[str]:
    """Return files that hold a secret, outside of packages."""
    named, secret = [], []
    for entry in filter(_files.is_file, seen.entries):
        path = os.path.relpath(entry.path, top)
        if path.startswith(PACKAGES):
            continue
        if is_secret(path):
            named.append(entry.path)
        elif holds_secret(entry):
            secret.append(entry.path)
    mismatches = [f"a file for secrets is here: {_files.some(named)}"] if named else []
    return [*mismatches, f"a secret is in {_files.some(secret)}"] if secret else mismatches


def main(top: Path = Path("/")) -> None:
    if not _tag.cell():
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    seen = _files.tree(top)
    steps = steps_of(os.environ.get("DLIMG_HISTORY", ""))
    _verdict.show(entries=len(seen.entries), variables=len(os.environ), steps=len(steps))
    mismatches = [*in_environment(os.environ), *in_history(steps), *in_files(top, seen)]
    _verdict.demand(not mismatches, "; ".join(mismatches))


if __name__ == "__main__":
    main()
