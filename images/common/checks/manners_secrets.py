"""No password, token or private key lies in the image's files or environment.

Only places and names are told, never what is there. Seen with root's eyes: where others may not
look a secret is published all the same. What packages bring (a test's key among it) is
`pip_check`'s to vouch for.

needs: image
seconds: 60
container: root
"""

import os
import re
import sys
from collections.abc import Mapping
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
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|(API|ACCESS|PRIVATE|SIGNING)_?KEY|_AUTH$|NETRC",
    re.IGNORECASE,
)
# A URL with a password; keys in PEM; tokens of AWS, GitHub, GitLab, Hugging Face, PyPI, Slack.
VALUES = re.compile(
    rb"[a-z][a-z0-9+.-]*://[^\s/:@\"'<>]*:[^\s/@\"'<>]+@[^\s/]"
    rb"|-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY"
    rb"|\b(AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{50}|glpat-[\w-]{20}"
    rb"|hf_[A-Za-z0-9]{34}|pypi-[\w-]{50}|xox[abprs]-[\w-]{20})"
)


def in_environment(variables: Mapping[str, str]) -> list[str]:
    """Names of variables that hold a secret, by their name or by what they hold."""
    return [
        f"the environment holds a secret: {name}"
        for name, value in sorted(variables.items())
        if value and (NAMES.search(name) or VALUES.search(os.fsencode(value)))
    ]


def is_secret(path: str) -> bool:
    """Whether a file of this path, from the root, is one that holds secrets."""
    return bool(FILES.fullmatch(path.rpartition("/")[2]) or PLACES.fullmatch(path))


def holds_secret(entry: os.DirEntry) -> bool:
    """Whether a secret can be read in this file."""
    if _files.status(entry).st_size > LARGE:
        return False
    try:
        return bool(VALUES.search(Path(entry.path).read_bytes()))
    except OSError:
        return False  # not this user's to read, or gone


def in_files(top: Path, seen: _files.Seen) -> list[str]:
    """Files that hold a secret, outside of packages."""
    named, held = [], []
    for entry in filter(_files.is_file, seen.entries):
        path = os.path.relpath(entry.path, top)
        if path.startswith(PACKAGES):
            continue
        if is_secret(path):
            named.append(entry.path)
        elif holds_secret(entry):
            held.append(entry.path)
    lies = [f"a file for secrets is here: {_files.some(named)}"] if named else []
    return [*lies, f"a secret is in {_files.some(held)}"] if held else lies


def main(top: Path = Path("/")) -> None:
    if not _tag.cell():
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    seen = _files.tree(top)
    _verdict.show(entries=len(seen.entries), variables=len(os.environ))
    lies = [*in_environment(os.environ), *in_files(top, seen)]
    _verdict.demand(not lies, "; ".join(lies))


if __name__ == "__main__":
    main()
