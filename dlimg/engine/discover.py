"""Finding a container engine: the user's, or dlimg's private engine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from dlimg.context import Context
from dlimg.engine import client, private_engine
from dlimg.engine.docker_address import EngineAddress, default_address, named_address
from dlimg.engine.private_home import PrivateHome, home_of
from dlimg.errors import NoEngine

PrivateEnginePolicy = Literal["allow", "refuse", "join"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProbe:
    """The effects of `find_engine`, which tests replace."""

    unreachable_reason: Callable[[Context], str]
    connect: Callable[[EngineAddress], client.Engine]
    running_pid: Callable[[PrivateHome], int]
    unsupported_reason: Callable[[], str]
    join: Callable[[PrivateHome, Context], client.Engine]
    up: Callable[[PrivateHome, Context], client.Engine]


def _connect(address: EngineAddress) -> client.Engine:
    return client.connect(
        address.host,
        private=False,
        command=client.docker_command(address.context),
        context=address.context,
    )


REAL_PROBE: Final = EngineProbe(
    unreachable_reason=client.unreachable_reason,
    connect=_connect,
    running_pid=private_engine.running_pid,
    unsupported_reason=private_engine.unsupported_reason,
    join=private_engine.connect,
    up=private_engine.up,
)


def find_engine(
    context: Context, *, private: PrivateEnginePolicy, probe: EngineProbe = REAL_PROBE
) -> client.Engine:
    """Return the engine to use, after starting a private one if `private` allows it.

    An engine that the user has named (DOCKER_HOST, a context) must answer: another one is never
    used instead. `refuse` starts no private engine because the user forbids it, `join` because
    the command would have nothing to do in a new one. Raises `NoEngine`.
    """
    home = home_of(context)
    named = named_address(context)
    if named is None:
        default = default_address(context)
        if not probe.unreachable_reason(default.context):
            return probe.connect(default)
    elif named.host != home.host:
        reason = probe.unreachable_reason(named.context)
        if reason:
            raise NoEngine(
                f"{named.named_by} names {named.host}, where no container engine answers: {reason}",
                hint="start that engine, or unset the setting, so that dlimg finds another one",
            )
        return probe.connect(named)
    return _private_engine(home, context, private, probe)


def _private_engine(
    home: PrivateHome, context: Context, policy: PrivateEnginePolicy, probe: EngineProbe
) -> client.Engine:
    """Return the private engine, joined or started."""
    if probe.running_pid(home):
        context.log(f"using dlimg's private engine, which stays up; {private_engine.STOP_HINT}")
        return probe.join(home, context)
    if policy == "join":
        raise NoEngine(
            "no container engine runs, and this command starts none",
            hint="`dlimg engine up` starts a private one, `dlimg engine purge` removes it",
        )
    if policy == "refuse":
        raise NoEngine(
            "no container engine answers, and the options forbid a private one",
            hint=client.INSTALL_HINT,
        )
    reason = probe.unsupported_reason()
    if reason:
        raise NoEngine(
            f"no container engine answers, and a private one cannot be started: {reason}",
            hint=client.INSTALL_HINT,
        )
    return probe.up(home, context)
