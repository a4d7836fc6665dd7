"""Which container engine to use: the user's by the usual means, or one of dlimg's own.

The environment and what the user allows come in; an `Engine` comes out, or one `NoEngine`
that says what was looked for and what to do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from dlimg.engine import client, private_engine
from dlimg.engine.docker_address import EngineAddress, default_address, named_address
from dlimg.engine.private_home import PrivateHome, home_of
from dlimg.errors import NoEngine

PrivateEnginePolicy = Literal["allow", "refuse", "join"]
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProbe:
    """What `find` does to the world; a test puts functions of its own in its place."""

    silence: Callable[[Mapping[str, str]], str]
    connect: Callable[[EngineAddress], client.Engine]
    running: Callable[[PrivateHome], int]
    obstacle: Callable[[], str]
    join: Callable[[PrivateHome, Mapping[str, str]], client.Engine]
    up: Callable[[PrivateHome, Mapping[str, str], Log], client.Engine]


def _connect(address: EngineAddress) -> client.Engine:
    return client.connect(
        address.host,
        private=False,
        command=client.docker_command(address.environment),
        environment=address.environment,
    )


REAL_PROBE: Final = EngineProbe(
    silence=client.unreachable_reason,
    connect=_connect,
    running=private_engine.running_pid,
    obstacle=private_engine.unsupported_reason,
    join=private_engine.connect,
    up=lambda home, environment, log: private_engine.up(home, environment=environment, log=log),
)


def find_engine(
    environment: Mapping[str, str],
    *,
    private: PrivateEnginePolicy,
    log: Log,
    world: EngineProbe = REAL_PROBE,
) -> client.Engine:
    """The engine to use; `NoEngine` when none answers and none may or can be started.

    An engine that the user has named (DOCKER_HOST, a context) must answer: to fall back
    silently would build in another place than was asked for. `refuse` is the user's word that
    none may be started, `join` that of a command for which there would be nothing to do in it.
    """
    home = home_of(environment)
    named = named_address(environment)
    if named is None:
        usual = default_address(environment)
        if not world.silence(usual.environment):
            return world.connect(usual)
    elif named.host != home.host:
        reason = world.silence(named.environment)
        if reason:
            raise NoEngine(
                f"{named.named_by} leads to {named.host}, where no container engine answers:"
                f" {reason}",
                hint="start that engine, or unset what names it and let dlimg look elsewhere",
            )
        return world.connect(named)
    return _own(home, environment, private, log, world)


def _own(
    home: PrivateHome,
    environment: Mapping[str, str],
    allowed: PrivateEnginePolicy,
    log: Log,
    world: EngineProbe,
) -> client.Engine:
    """The private engine, joined or started."""
    if world.running(home):
        log(f"using dlimg's own container engine, which stays up; {private_engine.STOP_HINT}")
        return world.join(home, environment)
    if allowed == "join":
        raise NoEngine(
            "no container engine runs, and for this none is started",
            hint="`dlimg engine up` starts dlimg's own, `dlimg engine purge` removes all of it",
        )
    if allowed == "refuse":
        raise NoEngine(
            "no container engine answers, and dlimg was told to start none of its own",
            hint=client.INSTALL_HINT,
        )
    obstacle = world.obstacle()
    if obstacle:
        raise NoEngine(
            f"no container engine answers, and dlimg cannot start one of its own: {obstacle}",
            hint=client.INSTALL_HINT,
        )
    return world.up(home, environment, log)
