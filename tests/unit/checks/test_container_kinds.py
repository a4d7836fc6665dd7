"""Which checks share a container, and what it is like."""

from dlimg.checks.container_setup import ContainerKind, container_options, group_by_kind
from dlimg.model import Check, ImageUser


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


def test_checks_are_ordered_by_container_kind() -> None:
    checks = [
        check("shut", "read-only"),
        check("first"),
        check("online", "", "network"),
        check("also_shut", "read-only"),
        check("anyone", "any user"),
        check("nvidia_smi", "", "gpu"),
        check("both", "read-only", "network"),
    ]
    result = [
        (kind, [member.name for member in members]) for kind, members in group_by_kind(checks)
    ]
    assert result == [
        (ContainerKind(), ["nvidia_smi", "first"]),
        (ContainerKind(container="read-only"), ["shut", "also_shut"]),
        (ContainerKind(has_network=True), ["online"]),
        (ContainerKind(container="any user"), ["anyone"]),
        (ContainerKind(container="read-only", has_network=True), ["both"]),
    ]


def test_only_checks_that_ask_for_a_network_get_one() -> None:
    assert container_options(ContainerKind()) == {"network_mode": "none"}
    assert container_options(ContainerKind(has_network=True)) == {}


def test_options_of_special_containers() -> None:
    shut = container_options(ContainerKind(container="read-only"))
    assert (shut["read_only"], shut["network_mode"], len(shut["tmpfs"])) == (True, "none", 1)
    assert container_options(ContainerKind(container="any user"))["user"] == "12345:0"
    assert "/home/user" in container_options(ContainerKind(container="empty home"))["tmpfs"]
    assert container_options(ContainerKind(container="root")) == {
        "network_mode": "none",
        "user": "0:0",
    }


def test_the_empty_home_is_that_of_the_images_user() -> None:
    user = ImageUser(name="jovyan", number=2000, group=3000, home="/workspace")
    options = container_options(ContainerKind(container="empty home"), user)
    assert list(options["tmpfs"]) == ["/workspace"]
    assert "uid=2000,gid=3000," in options["tmpfs"]["/workspace"]
