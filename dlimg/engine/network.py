"""The private engine's own way to the outside: a bridge and three packet filter rules.

An engine of its own must not touch the chains of another: two engines that both manage them
take each other's network away. So this one manages none, and the rules here, each marked
with the bridge's name, let its containers out and the answers in.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from dlimg.errors import NoEngine
from dlimg.host.process import ProcessResult, failure_text

CANDIDATES: Final = tuple(
    IPv4Network(text)
    for text in (
        *(f"172.31.{third}.0/20" for third in (192, 208, 224, 176, 160, 144)),
        *(f"10.213.{third}.0/20" for third in (192, 208, 224, 176, 160, 144)),
    )
)
IPTABLES_COMMANDS: Final = ("iptables", "iptables-nft", "iptables-legacy")
FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")

Command = Callable[[Sequence[str]], ProcessResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeNetwork:
    """A bridge with the addresses behind it: a /20 that no other network here uses."""

    bridge: str
    addresses: IPv4Network

    @property
    def gateway(self) -> str:
        """The bridge's own address, in the first /24, where plain containers live."""
        return f"{self.addresses.network_address + 1}/24"

    @property
    def pool(self) -> IPv4Network:
        """The upper half, for the networks that users make (compose does)."""
        return tuple(self.addresses.subnets(prefixlen_diff=1))[1]


def choose_network(bridge: str, taken: Iterable[IPv4Network], preferred: str) -> BridgeNetwork:
    """A network whose addresses nobody has; the preferred one when that is still free."""
    wanted = [IPv4Network(preferred)] if preferred else []
    others = tuple(taken)
    for addresses in (*wanted, *CANDIDATES):
        if not any(addresses.overlaps(other) for other in others):
            return BridgeNetwork(bridge=bridge, addresses=addresses)
    raise NoEngine(
        "every network that dlimg could use for its engine is taken",
        hint="give the network's route away, or run a container engine of your own",
    )


def routed_networks(command: Command, bridge: str) -> tuple[IPv4Network, ...]:
    """The networks that this machine has routes to, other than by this bridge."""
    outcome = command(["ip", "-json", "-4", "route", "show", "table", "all"])
    routes = json.loads(outcome.stdout or "[]") if outcome.returncode == 0 else []
    return tuple(
        IPv4Network(route["dst"], strict=False)
        for route in routes
        if route.get("dst", "default") != "default" and route.get("dev") != bridge
    )


def create_network(network: BridgeNetwork, command: Command) -> None:
    """Make the bridge and the rules where they are missing; `NoEngine` when that fails."""
    if command(["ip", "link", "show", "dev", network.bridge]).returncode != 0:
        _must(command, ["ip", "link", "add", "name", network.bridge, "type", "bridge"])
    _must(command, ["ip", "address", "replace", network.gateway, "dev", network.bridge])
    _must(command, ["ip", "link", "set", "dev", network.bridge, "up"])
    if FORWARDING.read_text(encoding="ascii").strip() != "1":
        FORWARDING.write_text("1\n", encoding="ascii")
    iptables = _packet_filter(command)
    for table, chain, rule in firewall_rules(network):
        if command([iptables, "-w", "-t", table, "-C", chain, *rule]).returncode != 0:
            _must(command, [iptables, "-w", "-t", table, "-I", chain, *rule])


def remove_network(network: BridgeNetwork, command: Command) -> None:
    """Remove the rules and the bridge; what is not there is no failure."""
    remove_rules(network, command)
    command(["ip", "link", "delete", "dev", network.bridge])


def remove_rules(network: BridgeNetwork, command: Command) -> None:
    """Remove the rules, however often each of them is there."""
    iptables = _packet_filter(command)
    for table, chain, rule in firewall_rules(network):
        while command([iptables, "-w", "-t", table, "-D", chain, *rule]).returncode == 0:
            pass


def firewall_rules(network: BridgeNetwork) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Each rule as table, chain and match: out for all, in for answers, one outer address."""
    inside = str(network.addresses)
    mark = ("-m", "comment", "--comment", f"dlimg:{network.bridge}")
    answers = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED")
    return (
        ("filter", "FORWARD", ("-s", inside, *mark, "-j", "ACCEPT")),
        ("filter", "FORWARD", ("-d", inside, *answers, *mark, "-j", "ACCEPT")),
        ("nat", "POSTROUTING", ("-s", inside, "!", "-d", inside, *mark, "-j", "MASQUERADE")),
    )


def save_network(network: BridgeNetwork, file: Path) -> None:
    """Write down which network was chosen, for the next start and for the end."""
    note = {"bridge": network.bridge, "addresses": str(network.addresses)}
    file.write_text(json.dumps(note) + "\n", encoding="utf-8")


def load_network(file: Path) -> BridgeNetwork | None:
    """The network that was chosen before, if any."""
    if not file.exists():
        return None
    note: Mapping[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return BridgeNetwork(bridge=note["bridge"], addresses=IPv4Network(note["addresses"]))


def _packet_filter(command: Command) -> str:
    """The machine's own iptables, so that our rules stand beside its others; else any."""
    for program in IPTABLES_COMMANDS:
        if command([program, "-w", "-t", "nat", "-S", "POSTROUTING"]).returncode == 0:
            return program
    return IPTABLES_COMMANDS[0]


def _must(command: Command, argv: Sequence[str]) -> None:
    outcome = command(argv)
    if outcome.returncode != 0:
        raise NoEngine(
            f"the private engine's network could not be made: {failure_text(outcome)}",
            hint="dlimg must be root and may change the machine's network",
        )
