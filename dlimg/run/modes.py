"""The modes of a run with a server: their ports, variables and addresses."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.host.ports import is_free
from dlimg.host.process import run
from dlimg.run.model import Mode, PortMapping

JUPYTER_PORT: Final = 8888
SSH_PORT: Final = 2222
TOKEN: Final = "JUPYTER_TOKEN"  # noqa: S105 - its name
PUBLIC_KEY: Final = "PUBLIC_KEY"
_SECONDS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeSetup:
    """A mode's ports and variables; those in `hidden` are sent to the container like secrets."""

    ports: tuple[PortMapping, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict, repr=False)


def has_jupyter(mode: Mode) -> bool:
    return mode in {"jupyter", "both"}


def has_ssh(mode: Mode) -> bool:
    return mode in {"ssh", "both"}


def mode_setup(mode: Mode, user_values: Mapping[str, str], context: Context) -> ModeSetup:
    """Return the setup of a mode; the user's own variables and secrets replace its values.

    Raises BadInput for ssh without a public key.
    """
    ports, variables, hidden = [], {}, {}
    if has_jupyter(mode):
        ports.append(same_port(JUPYTER_PORT))
        if TOKEN not in user_values:
            hidden[TOKEN] = secrets.token_hex(24)
    if has_ssh(mode):
        ports.append(same_port(SSH_PORT))
        variables["SSH_PORT"] = str(SSH_PORT)
        if PUBLIC_KEY not in user_values:
            variables[PUBLIC_KEY] = public_keys(context)
    return ModeSetup(ports=tuple(ports), variables=variables, hidden=hidden)


def same_port(port: int) -> PortMapping:
    """Return the mapping to the same port of this machine, or to any free one if it is taken."""
    return PortMapping(container=port, host=port if is_free(port) else 0)


def public_keys(context: Context) -> str:
    """Return the user's public ssh keys: of files in ~/.ssh, or else of the agent."""
    folder = Path(context.environment.get("HOME") or Path.home()) / ".ssh"
    files = sorted(folder.glob("id_*.pub"))
    texts = [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]
    if not texts:
        completed = run(["ssh-add", "-L"], env=context.environment, timeout=_SECONDS)
        texts = [completed.stdout.strip()] if completed.returncode == 0 else []
    if not any(texts):
        hint = "`ssh-keygen -t ed25519` makes one"
        raise BadInput("there is no public key in ~/.ssh and none in an agent", hint=hint)
    return "\n".join(texts)


def addresses(
    mode: Mode, ports: Mapping[int, int], hidden: Mapping[str, str], user: str
) -> Iterator[str]:
    """Yield the addresses on this machine of a run's servers."""
    if has_jupyter(mode) and JUPYTER_PORT in ports:
        token = f"?token={hidden[TOKEN]}" if TOKEN in hidden else ""
        yield f"Jupyter: http://127.0.0.1:{ports[JUPYTER_PORT]}/lab{token}"
    if has_ssh(mode) and SSH_PORT in ports:
        yield f"ssh: ssh -p {ports[SSH_PORT]} {user}@127.0.0.1"
