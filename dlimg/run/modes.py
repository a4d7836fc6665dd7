"""The modes of an image with a server: its ports, variables and addresses."""

import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.host.process import run
from dlimg.run.model import Mode, PortMapping

JUPYTER_PORT: Final = 8888
SSH_PORT: Final = 2222
TOKEN: Final = "JUPYTER_TOKEN"  # noqa: S105 - its name
PUBLIC_KEY: Final = "PUBLIC_KEY"
_SECONDS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeSetup:
    """A mode's additions to a run: ports, variables, and values that are sent like secrets."""

    ports: tuple[PortMapping, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict, repr=False)


def has_jupyter(mode: Mode) -> bool:
    return mode in {"jupyter", "both"}


def has_ssh(mode: Mode) -> bool:
    return mode in {"ssh", "both"}


def mode_setup(mode: Mode, given: Mapping[str, str], context: Context) -> ModeSetup:
    """Return the setup of a mode; `given` are variables and secrets of the user. May raise."""
    ports, variables, hidden = [], {}, {}
    if has_jupyter(mode):
        ports.append(PortMapping(container=JUPYTER_PORT, host=_free_port(JUPYTER_PORT)))
        if TOKEN not in given:
            hidden[TOKEN] = secrets.token_hex(24)
    if has_ssh(mode):
        ports.append(PortMapping(container=SSH_PORT, host=_free_port(SSH_PORT)))
        variables["SSH_PORT"] = str(SSH_PORT)
        if PUBLIC_KEY not in given:
            variables[PUBLIC_KEY] = public_keys(context)
    return ModeSetup(ports=tuple(ports), variables=variables, hidden=hidden)


def _free_port(port: int) -> int:
    """Return the port if it can be opened here, or else 0: another one is chosen."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:  # also for a minute after a tunnel was closed
            return 0
    return port


def public_keys(context: Context) -> str:
    """Return the user's public ssh keys: of files in ~/.ssh, or else of the agent."""
    folder = Path(context.environment.get("HOME") or Path.home()) / ".ssh"
    files = sorted(folder.glob("id_*.pub"))
    texts = [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]
    if not texts:
        outcome = run(["ssh-add", "-L"], env=context.environment, timeout=_SECONDS)
        texts = [outcome.stdout.strip()] if outcome.returncode == 0 else []
    if not any(texts):
        hint = "`ssh-keygen -t ed25519` makes one"
        raise BadInput("there is no public key in ~/.ssh and none in an agent", hint=hint)
    return "\n".join(texts)


def addresses(
    mode: Mode, ports: Mapping[int, int], hidden: Mapping[str, str], user: str
) -> Iterator[str]:
    """Yield where a run of this mode is reached from this machine."""
    if has_jupyter(mode) and JUPYTER_PORT in ports:
        token = f"?token={hidden[TOKEN]}" if TOKEN in hidden else ""
        yield f"Jupyter: http://127.0.0.1:{ports[JUPYTER_PORT]}/lab{token}"
    if has_ssh(mode) and SSH_PORT in ports:
        yield f"ssh: ssh -p {ports[SSH_PORT]} {user}@127.0.0.1"
