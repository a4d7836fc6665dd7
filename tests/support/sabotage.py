"""Sabotages of a real image: scripts of root's, and what a check then says.

Sabotages that do not meet share a container, because starting one takes longer than a sabotage. A
check says all that it finds, so each of them has to be named.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.support import layout_image
from tests.support.real_jax import PACKAGES

# Byte code is never compared with its source, so it has to go as well.
STALE: Final = "rm __pycache__/__init__.*"
RELU_IS_GONE: Final = f"cd {PACKAGES}/jax/nn; {STALE}; echo 'relu = lambda x: x' >> __init__.py"
CUDNN: Final = (
    f"mkdir -p {PACKAGES}/nvidia/cudnn/lib; touch {PACKAGES}/nvidia/cudnn/lib/libcudnn.so.9"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sabotage:
    """A script, and a part of the reason that the check gives."""

    script: str
    reason: str


def sabotage(script: str, reason: str) -> Sabotage:
    return Sabotage(script=script, reason=reason)


def script_of(sabotages: Sequence[Sabotage]) -> str:
    """Return one script; each part of it begins in the same folder."""
    return "\n".join(f"( {each.script}\n)" for each in sabotages)


def unnamed(sabotages: Sequence[Sabotage], reason: str) -> list[str]:
    """Return what should be in a check's reason and is not."""
    return [each.reason for each in sabotages if each.reason not in reason]


def distribution(folder: str, name: str, version: str) -> str:
    """Return a script that makes a distribution known in this folder."""
    about = f"{name.replace('-', '_')}-{version}.dist-info"
    text = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
    record = f"echo {about}/METADATA,, > {about}/RECORD"
    return f"cd {folder}; mkdir {about}; printf '{text}' > {about}/METADATA; {record}"


def installed(target: str) -> str:
    """Return a script that installs a package made here, with a plain pip."""
    install = layout_image.install("greeting", "1.0").replace(
        "pip install", f"pip install {target}"
    )
    return (
        f"base64() {{ command base64 -d <<< {layout_image.wheel('greeting', '1.0')}; }}; {install}"
    )
