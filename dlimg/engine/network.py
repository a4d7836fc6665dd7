"""The private engine's network: a bridge and three iptables rules.

Two engines that both manage iptables chains break each other's networks. So the private engine
manages none; these rules, each with the bridge's name in a comment, let its containers reach
other hosts and let the replies in.
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

RunCommand = Callable[[Sequence[str]], ProcessResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeNetwork:
    """A bridge and its addresses: a /20 network that this host does not use otherwise."""

    bridge: str
    addresses: IPv4Network

    @property
    def gateway(self) -> str:
        """The bridge's own address; its /24 is for containers of the default network."""
        return f"{self.addresses.network_address + 1}/24"

    @property
    def pool(self) -> IPv4Network:
        """The upper half of the addresses, for networks that users create, such as compose's."""
        return tuple(self.addresses.subnets(prefixlen_diff=1))[1]


def choose_network(bridge: str, used: Iterable[IPv4Network], preferred: str) -> BridgeNetwork:
    """Choose a network with free addresses, the preferred one if it is still free.

    `taken` are networks in use. Raises `NoEngine` when all candidates are taken.
    """
    first = [IPv4Network(preferred)] if preferred else []
    in_use = tuple(used)
    for addresses in (*first, *CANDIDATES):
        if not any(addresses.overlaps(network) for network in in_use):
            return BridgeNetwork(bridge=bridge, addresses=addresses)
    raise NoEngine(
        "all networks that dlimg can use for its engine are in use",
        hint="remove the route of one of them, or run a container engine yourself",
    )


def routed_networks(run_command: RunCommand, bridge: str) -> tuple[IPv4Network, ...]:
    """Return the networks that this host has routes to, other than over this bridge."""
    completed = run_command(["ip", "-json", "-4", "route", "show", "table", "all"])
    routes = json.loads(completed.stdout or "[]") if completed.returncode == 0 else []
    return tuple(
        IPv4Network(route["dst"], strict=False)
        for route in routes
        if route.get("dst", "default") != "default" and route.get("dev") != bridge
    )


def create_network(network: BridgeNetwork, run_command: RunCommand) -> None:
    """Create the bridge and the rules that are missing; raise `NoEngine` when that fails."""
    if run_command(["ip", "link", "show", "dev", network.bridge]).returncode != 0:
        _run_or_fail(run_command, ["ip", "link", "add", "name", network.bridge, "type", "bridge"])
    _run_or_fail(run_command, ["ip", "address", "replace", network.gateway, "dev", network.bridge])
    _run_or_fail(run_command, ["ip", "link", "set", "dev", network.bridge, "up"])
    if FORWARDING.read_text(encoding="ascii").strip() != "1":
        FORWARDING.write_text("1\n", encoding="ascii")
    iptables = _find_iptables(run_command)
    for table, chain, rule in firewall_rules(network):
        if run_command([iptables, "-w", "-t", table, "-C", chain, *rule]).returncode != 0:
            _run_or_fail(run_command, [iptables, "-w", "-t", table, "-I", chain, *rule])


def remove_network(network: BridgeNetwork, run_command: RunCommand) -> None:
    """Remove the rules and the bridge, if they exist."""
    remove_rules(network, run_command)
    run_command(["ip", "link", "delete", "dev", network.bridge])


def remove_rules(network: BridgeNetwork, run_command: RunCommand) -> None:
    """Remove all copies of the rules."""
    iptables = _find_iptables(run_command)
    for table, chain, rule in firewall_rules(network):
        while run_command([iptables, "-w", "-t", table, "-D", chain, *rule]).returncode == 0:
            pass


def firewall_rules(network: BridgeNetwork) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Return each rule as table, chain and arguments.

    They accept all outgoing packets, accept replies, and masquerade the source address.
    """
    subnet = str(network.addresses)
    comment = ("-m", "comment", "--comment", f"dlimg:{network.bridge}")
    replies = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED")
    return (
        ("filter", "FORWARD", ("-s", subnet, *comment, "-j", "ACCEPT")),
        ("filter", "FORWARD", ("-d", subnet, *replies, *comment, "-j", "ACCEPT")),
        ("nat", "POSTROUTING", ("-s", subnet, "!", "-d", subnet, *comment, "-j", "MASQUERADE")),
    )


def save_network(network: BridgeNetwork, file: Path) -> None:
    """Save the network, for the next start and for the removal."""
    saved = {"bridge": network.bridge, "addresses": str(network.addresses)}
    file.write_text(json.dumps(saved) + "\n", encoding="utf-8")


def load_network(file: Path) -> BridgeNetwork | None:
    """Return the saved network, or None if none is saved."""
    if not file.exists():
        return None
    saved: Mapping[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return BridgeNetwork(bridge=saved["bridge"], addresses=IPv4Network(saved["addresses"]))


def _find_iptables(run_command: RunCommand) -> str:
    """Return the iptables variant that the host uses, whose tables have its other rules."""
    for program in IPTABLES_COMMANDS:
        if run_command([program, "-w", "-t", "nat", "-S", "POSTROUTING"]).returncode == 0:
            return program
    return IPTABLES_COMMANDS[0]


def _run_or_fail(run_command: RunCommand, argv: Sequence[str]) -> None:
    completed = run_command(argv)
    if completed.returncode != 0:
        raise NoEngine(
            f"the private engine's network could not be created: {failure_text(completed)}",
            hint="dlimg must be root and allowed to change the host's network",
        )
