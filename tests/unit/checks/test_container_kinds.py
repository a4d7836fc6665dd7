"""Which checks share a container, and what it is like."""

from dlimg.checks.container_kinds import ContainerKind, groups, options
from dlimg.model import Check


def check(name: str, container: str = "", *needs: str) -> Check:
    return Check(
        name=name,
        path="",
        script="",
        sha256="",
        proves="",
        needs=frozenset(needs),
        container=container,
    )


def test_the_ordinary_come_first_and_the_look_at_the_gpu_before_all() -> None:
    checks = [
        check("shut", "read-only"),
        check("first"),
        check("online", "", "network"),
        check("also_shut", "read-only"),
        check("anyone", "any user"),
        check("nvidia_smi", "", "gpu"),
        check("both", "read-only", "network"),
    ]
    found = [(kind, [one.name for one in members]) for kind, members in groups(checks)]
    assert found == [
        (ContainerKind(), ["nvidia_smi", "first"]),
        (ContainerKind(container="read-only"), ["shut", "also_shut"]),
        (ContainerKind(has_network=True), ["online"]),
        (ContainerKind(container="any user"), ["anyone"]),
        (ContainerKind(container="read-only", has_network=True), ["both"]),
    ]


def test_only_what_asks_for_the_network_has_it() -> None:
    assert options(ContainerKind()) == {"network_mode": "none"}
    assert options(ContainerKind(has_network=True)) == {}


def test_a_read_only_disk_has_a_scratch_folder_and_a_stranger_has_no_powers() -> None:
    shut = options(ContainerKind(container="read-only"))
    assert (shut["read_only"], shut["network_mode"], len(shut["tmpfs"])) == (True, "none", 1)
    assert options(ContainerKind(container="any user"))["user"] == "12345:0"
    assert "/home/user" in options(ContainerKind(container="empty home"))["tmpfs"]
    assert options(ContainerKind(container="root")) == {"network_mode": "none", "user": "0:0"}
