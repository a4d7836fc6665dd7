"""The modes of a run with a server: their ports, variables and addresses."""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.host.ports import LOOPBACK, answers, is_free, is_taken
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
        ports.append(PortMapping(container=JUPYTER_PORT))
        if TOKEN not in user_values:
            hidden[TOKEN] = secrets.token_hex(24)
    if has_ssh(mode):
        ports.append(PortMapping(container=SSH_PORT))
        variables["SSH_PORT"] = str(SSH_PORT)
        if PUBLIC_KEY not in user_values:
            variables[PUBLIC_KEY] = public_keys(context)
    return ModeSetup(ports=tuple(ports), variables=variables, hidden=hidden)


def ports_here(ports: Iterable[PortMapping]) -> Iterator[PortMapping]:
    """Yield the mappings, once each: without a port of this machine to the same one, if it is free.

    A mapping with one replaces the others of its port. Raises BadInput for one that is taken.
    """
    wanted = tuple(dict.fromkeys(ports))
    named = {port.host for port in wanted if port.host}
    replaced = {port.container for port in wanted if port.host}
    for port in wanted:
        if port.host and port.address == LOOPBACK and is_taken(port.host):
            hint = f"name a free one, `--port OTHER:{port.container}`, or leave it out"
            raise BadInput(f"port {port.host} is taken on this machine", hint=hint)
        if port.host:
            yield port
        elif port.container not in replaced:
            is_usable = port.container not in named and is_free(port.container)
            yield replace(port, host=port.container if is_usable else 0)


def servers_answer(mode: Mode, ports: Mapping[int, int]) -> bool:
    """Return whether the servers of a mode answer at their ports of this machine."""
    requests = {JUPYTER_PORT: b"GET /api HTTP/1.0\r\n\r\n"} if has_jupyter(mode) else {}
    requests |= {SSH_PORT: b""} if has_ssh(mode) else {}  # it speaks first
    return all(answers(ports[port], text) for port, text in requests.items() if port in ports)


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


def jupyter_address(port: int, hidden: Mapping[str, str]) -> str:
    token = f"?token={hidden[TOKEN]}" if TOKEN in hidden else ""
    return f"Jupyter: http://127.0.0.1:{port}/lab{token}"
