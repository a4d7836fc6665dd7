"""Names of runs, data, ports and variables, as users write them."""

import pytest

from dlimg.errors import BadInput
from dlimg.run import names
from dlimg.run.model import DataRequest, PortMapping, RunName
from dlimg.run.names import is_fetched, parse_data


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("hello", "hello"),
        ("my first project", "my-first-project"),
        ("a'b\"c", "a-b-c"),
        ("$HOME", "HOME"),
        ("你好", "你好"),
        (".hidden", "hidden"),
        ("...", "run"),
        ("", "run"),
        ("-x", "x"),
        ("a/b:c", "a-b-c"),
        ("x" * 100, "x" * 63),
    ],
)
def test_a_run_is_named_after_its_folder(folder: str, name: str) -> None:
    assert names.name_from(folder) == name
    names.check_name(name, "--name")


@pytest.mark.parametrize("name", ["a b", "a/b", "$x", "a:b", "", "..", "'", "a\n", "x" * 64, "-d"])
def test_a_name_with_other_characters_is_refused_with_a_good_one(name: str) -> None:
    with pytest.raises(BadInput, match="is no name") as error:
        names.check_name(name, "--name")
    good = error.value.problems[0].hint.partition("e.g. ")[2]
    names.check_name(good, "--name")


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("hello:3", RunName(name="hello", number=3)),
        ("你好:12", RunName(name="你好", number=12)),
        ("hello", None),
        ("hello:0", None),
        ("hello:03", None),
        ("hello:-1", None),
        ("a/b:3", None),
        ("hello:٣", None),
        (":3", None),
    ],
)
def test_a_run_is_a_name_and_a_number(text: str, run: RunName | None) -> None:
    assert names.parse_run(text) == run


@pytest.mark.parametrize(
    ("text", "exists", "source", "name"),
    [
        ("mnist", False, "mnist", "mnist"),
        ("/mnt/my data/", True, "/mnt/my data/", "my-data"),
        ("../mnist:digits", False, "../mnist", "digits"),
        ("a:b", True, "a:b", "a-b"),
        ("a:b", False, "a", "b"),
        ("hello:3/output", False, "hello:3/output", "hello"),
        ("hello:3/output:model", False, "hello:3/output", "model"),
        ("C:\\data", False, "C:\\data", "C-data"),
        ("你好", True, "你好", "你好"),
        ("$x:数据", False, "$x", "数据"),
    ],
)
def test_data_has_a_source_and_a_name(text: str, *, exists: bool, source: str, name: str) -> None:
    assert names.parse_data(text, exists=exists) == DataRequest(source=source, name=name)


@pytest.mark.parametrize("text", ["", ":x", "a:b c", "a:$x", "a:"])
def test_data_without_a_good_name_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--data"):
        names.parse_data(text, exists=False)


@pytest.mark.parametrize(
    ("text", "source", "name"),
    [
        ("hf:gpt2", "hf:gpt2", "gpt2"),
        ("hf:a/b@main", "hf:a/b@main", "b"),
        ("hf:a/b@main:weights", "hf:a/b@main", "weights"),
        ("https://a.b/x.tar#sha256=00", "https://a.b/x.tar#sha256=00", "x.tar"),
        ("https://a.b:8080/x.csv?y=1", "https://a.b:8080/x.csv?y=1", "x.csv"),
        ("https://a.b/x.tar:digits", "https://a.b/x.tar", "digits"),
        ("kaggle:competitions/titanic", "kaggle:competitions/titanic", "titanic"),
        ("git:https://a.b/c/words#v1", "git:https://a.b/c/words#v1", "words"),
    ],
)
def test_data_at_an_address_has_its_last_part_as_name(text: str, source: str, name: str) -> None:
    assert parse_data(text, exists=False) == DataRequest(source=source, name=name)
    assert is_fetched(source)


@pytest.mark.parametrize("source", ["../mnist", "digits", "hello:3/output", "C:\\data"])
def test_other_data_is_on_this_machine_or_stored(source: str) -> None:
    assert not is_fetched(source)


def test_two_sources_under_one_name_are_refused() -> None:
    first, second = (DataRequest(source=source, name="x") for source in ("a/x", "b/x"))
    with pytest.raises(BadInput, match="a/x and b/x would both be /data/x"):
        names.refuse_repeats([first, second])


def test_data_is_at_the_root_too_but_over_no_folder_of_the_system() -> None:
    assert names.data_targets("mnist") == ("/data/mnist", "/input/mnist", "/mnist")
    assert names.data_targets("etc") == ("/data/etc", "/input/etc")


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("8888", PortMapping(container=8888)),
        ("9000:8888", PortMapping(container=8888, host=9000)),
        ("0.0.0.0:80:8888", PortMapping(container=8888, host=80, address="0.0.0.0")),  # noqa: S104
        ("[::1]:80:8888", PortMapping(container=8888, host=80, address="::1")),
    ],
)
def test_a_port_is_on_loopback_unless_an_address_is_named(text: str, port: PortMapping) -> None:
    assert names.parse_port(text) == port


@pytest.mark.parametrize("text", ["", "x", "0", "70000", "1:", ":1", "a:1:2", "-1", "1:2:3:4"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no port"):
        names.parse_port(text)


def test_a_variable_without_a_value_has_that_of_this_shell() -> None:
    assert names.parse_variable("A", {"A": "$x 你好"}) == ("A", "$x 你好")
    assert names.parse_variable("A=b=c", {}) == ("A", "b=c")
    assert names.parse_variable("A=", {"A": "x"}) == ("A", "")


@pytest.mark.parametrize("text", ["", "=x", "1A=x", "A B=x", "UNSET"])
def test_what_sets_no_variable_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--variable"):
        names.parse_variable(text, {})


@pytest.mark.parametrize(
    ("ports", "is_refused"),
    [
        (["8000:80", "8000:81"], True),
        (["8000:80", "8001:80"], False),
        (["80", "81"], False),
    ],
)
def test_one_port_of_this_machine_leads_to_one_of_the_container(
    ports: list[str], *, is_refused: bool
) -> None:
    mappings = [names.parse_port(text) for text in ports]
    if is_refused:
        with pytest.raises(BadInput, match="port 8000 would lead to both 80 and 81"):
            names.refuse_ambiguous_ports(mappings)
    else:
        names.refuse_ambiguous_ports(mappings)
