"""What the manners of an image are judged by, on made-up trees, users and answers."""

import importlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.check_scripts import FAILED, NOT_RUN, PASSED, code_of, run

entry = importlib.import_module("runtime_entrypoint")
files = importlib.import_module("_files")
leftovers = importlib.import_module("runtime_no_build_leftovers")
secrets = importlib.import_module("runtime_secrets")
start = importlib.import_module("runtime_start")
tls = importlib.import_module("runtime_tls")
user = importlib.import_module("runtime_user")

CELL = json.dumps({"family": "jax"})


@pytest.mark.parametrize(
    "name",
    [
        *("runtime_user", "runtime_no_build_leftovers", "runtime_secrets", "runtime_entrypoint"),
        *("runtime_start", "runtime_arbitrary_uid", "runtime_read_only", "os_packages_unmodified"),
        "runtime_without_entrypoint",
    ],
)
def test_where_there_is_no_image_nothing_is_judged(name: str) -> None:
    done = run(f"common/checks/{name}.py")
    assert done.returncode == NOT_RUN
    assert done.stderr.strip() == "DLIMG_CELL is not set: this is no image"


Plant = Callable[..., Path]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Makes a file in a tree that stands for an image."""

    def make(path: str, text: str = "x", mode: int = 0o644) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    return make


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("var/lib/apt/lists/deb_dists_trixie_InRelease", "a package list"),
        ("var/cache/apt/pkgcache.bin", "a package list"),
        ("var/cache/apt/archives/six_1.deb", "a package"),
        ("home/user/six-1.17.0-py3-none-any.whl", "a package"),
        ("var/log/dpkg.log", "a log"),
        ("var/log/apt/history.log", "a log"),
        ("home/user/.cache/pip/http/x", "a cache"),
        ("root/.cache/uv/x", "a cache"),
        ("run/secrets/netrc", "a mount of the build"),
        ("run/cache/wheel", "a mount of the build"),
        ("etc/shadow-", "an old copy"),
        ("var/lib/dpkg/status-old", "an old copy"),
        ("var/lib/apt/extended_states", ""),
        ("var/lib/dpkg/status", ""),
        ("opt/python/lib/python3.12/ensurepip/_bundled/pip-26.3-py3-none-any.whl", ""),
        ("etc/passwd", ""),
        ("home/user/.bashrc", ""),
        ("home/user/env/var/log/x", ""),
    ],
)
def test_build_leftovers_are_named(path: str, kind: str, plant: Plant, tmp_path: Path) -> None:
    file = plant(path)
    wanted = [f"{kind} is left: {file}"] if kind else []
    assert leftovers.left(tmp_path, files.tree(tmp_path), os.geteuid()) == wanted


@pytest.mark.parametrize(
    ("path", "is_ours", "is_left"),
    [
        ("tmp/a/x", False, True),
        ("var/tmp/x", False, True),
        ("tmp/x", True, False),
        ("tmp/dlimg/common/checks/x.py", False, False),
        ("tmp/dlimg-else/x", False, True),
        ("home/user/tmp/x", False, False),
    ],
)
def test_temporary_files_of_others_are_left(
    path: str, *, is_ours: bool, is_left: bool, plant: Plant, tmp_path: Path
) -> None:
    file = plant(path)
    me = os.geteuid() if is_ours else os.geteuid() + 1
    wanted = [f"a temporary file is left: {file}"] if is_left else []
    assert leftovers.left(tmp_path, files.tree(tmp_path), me) == wanted


@pytest.mark.parametrize(
    ("path", "mode", "is_open"),
    [
        ("etc/x", 0o666, True),
        ("etc/x", 0o1666, True),
        ("etc/x", 0o664, False),
        ("tmp/x", 0o666, False),
        ("tmpx/x", 0o666, True),
        ("proc/x", 0o666, False),
        ("opt/proc/x", 0o666, True),
    ],
)
def test_files_that_anyone_may_change(
    path: str, mode: int, *, is_open: bool, plant: Plant, tmp_path: Path
) -> None:
    file = plant(path, mode=mode)
    wanted = [f"anyone may write to {file}"] if is_open else []
    assert leftovers.open_ones(tmp_path, files.tree(tmp_path)) == wanted


def test_a_folder_that_all_share_is_sticky(plant: Plant, tmp_path: Path) -> None:
    shared = plant("run/lock/x").parent
    (tmp_path / "link").symlink_to("run")
    shared.chmod(0o1777)
    assert leftovers.open_ones(tmp_path, files.tree(tmp_path)) == []
    shared.chmod(0o777)
    assert leftovers.open_ones(tmp_path, files.tree(tmp_path)) == [f"anyone may write to {shared}"]


def test_links_are_seen_and_not_followed(plant: Plant, tmp_path: Path) -> None:
    plant("etc/x")
    (tmp_path / "etc" / "up").symlink_to(tmp_path)
    (tmp_path / "etc" / "gone").symlink_to("nowhere")
    seen = [os.path.relpath(entry.path, tmp_path) for entry in files.tree(tmp_path).entries]
    assert sorted(seen) == ["etc", "etc/gone", "etc/up", "etc/x"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root looks into every folder")
def test_a_folder_that_is_closed_is_told(plant: Plant, tmp_path: Path) -> None:
    folder = plant("root/x").parent
    folder.chmod(0)
    try:
        assert files.tree(tmp_path).closed == [str(folder)]
    finally:
        folder.chmod(0o755)


def test_of_many_files_the_first_three_are_told() -> None:
    assert files.some(list("badce")) == "a, b, c and 2 more"
    assert files.some(["a"]) == "a"


URL = "https://me:hidden@example.com/simple"
KEY = "-----BEGIN PRIVATE KEY" + "-----"


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("HF_TOKEN", "hidden", True),
        ("db_password", "hidden", True),
        ("AWS_SECRET_ACCESS_KEY", "hidden", True),
        ("OPENAI_API_KEY", "hidden", True),
        ("PIP_INDEX_URL", URL, True),
        ("https_proxy", "http://:hidden@proxy:3128", True),
        ("NOTE", f"ghp_{'a' * 36}", True),
        ("NOTE", KEY, True),
        ("NETRC", "/run/secrets/netrc", True),
        ("HF_TOKEN", "", False),
        ("PIP_INDEX_URL", "https://example.com/simple", False),
        ("https_proxy", "http://proxy:3128", False),
        ("PATH", "/usr/bin:/bin", False),
        ("KEYBOARD", "us", False),
        ("AUTHOR", "me@example.com", False),
    ],
)
def test_secrets_in_the_environment(name: str, value: str, *, is_secret: bool) -> None:
    result = secrets.in_environment({name: value, "LANG": "C.UTF-8"})
    assert result == ([f"the environment holds a secret: {name}"] if is_secret else [])


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("home/user/.netrc", "x", "a file for secrets is here: "),
        ("etc/netrc", "x", "a file for secrets is here: "),
        ("home/user/.docker/config.json", "{}", "a file for secrets is here: "),
        ("home/user/.ssh/id_ed25519", "x", "a file for secrets is here: "),
        ("run/secrets/netrc", "x", "a file for secrets is here: "),
        ("etc/apt/auth.conf.d/mirror", "x", "a file for secrets is here: "),
        ("etc/pip.conf", f"[global]\nindex-url = {URL}\n", "a secret is in "),
        ("etc/apt/apt.conf.d/90proxy", f'Acquire::http::Proxy "{URL}";', "a secret is in "),
        ("code/key.pem", f"{KEY}\nx", "a secret is in "),
        ("data/notes", f"use hf_{'a' * 34}", "a secret is in "),
        ("etc/pip.conf", "[global]\nindex-url = https://example.com/simple\n", ""),
        ("home/user/.ssh/id_ed25519.pub", "x", ""),
        ("opt/env/lib/python/site-packages/tornado/test/test.key", KEY, ""),
        ("tmp/dlimg/common/checks/_tls.py", KEY, ""),
        ("data/large", KEY + " " * secrets.LARGE, ""),
    ],
)
def test_secrets_in_files(path: str, text: str, reason: str, plant: Plant, tmp_path: Path) -> None:
    file = plant(path, text)
    result = secrets.in_files(tmp_path, files.tree(tmp_path))
    assert result == ([f"{reason}{file}"] if reason else [])


STATUS = "Name:\tpython\nCapPrm:\t{0:016x}\nCapEff:\t{0:016x}\nCapAmb:\t0000000000000000\n"


@pytest.mark.parametrize(
    ("who", "powers", "reasons"),
    [
        ((1000, 100, [100]), 0, []),
        ((12345, 12345, []), 0, []),
        ((0, 0, [0]), 0, ["this runs as root", "this runs in root's group"]),
        ((1000, 0, []), 0, ["this runs in root's group"]),
        ((1000, 100, [100, 0]), 0, ["this runs in root's group"]),
        ((1000, 100, [100]), 0x400, ["this has capabilities: CapPrm, CapEff"]),
    ],
)
def test_a_user_with_powers_of_root(
    who: tuple[int, int, list[int]], powers: int, reasons: list[str]
) -> None:
    assert user.identity(*who, STATUS.format(powers)) == reasons


@pytest.fixture
def timezone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def choose(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "is_utc"),
    [
        ("UTC", True),
        ("UTC0", True),
        ("CET-1CEST", False),
        ("GMT0BST", False),
        ("No/Where", False),
        ("UTC-1", False),
    ],
)
def test_the_time_zone_is_utc(zone: str, *, is_utc: bool, timezone: Callable[[str], None]) -> None:
    timezone(zone)
    result = [lie for lie in user.zone() if f"TZ is {zone}" in lie]
    assert bool(result) is not is_utc
    assert os.environ["TZ"] == zone


@pytest.mark.parametrize("given", ["", "/", "//"])
def test_the_root_is_no_home(given: str) -> None:
    assert user.home(given) == [f"HOME is no home: {given or 'not set'}"]


def test_folders_are_tried_and_left_as_they_were(tmp_path: Path) -> None:
    assert user.closed([str(tmp_path)]) == []
    assert list(tmp_path.iterdir()) == []
    (lie,) = user.closed([str(tmp_path / "none")])
    assert lie == f"{tmp_path}/none cannot be written to: No such file or directory"
    assert user.home(str(tmp_path / "none")) == [lie]
    assert user.open_ones([str(tmp_path), "/none"]) == [f"{tmp_path} can be written to"]


def test_a_user_without_a_name_is_told() -> None:
    assert user.named(0) == []
    assert user.named(987654) == ["the user 987654 has no name"]


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in the entry point's place."""

    def place(text: str) -> None:
        script = tmp_path / "entry"
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        monkeypatch.setattr(entry, "ENTRY", (str(script),))
        monkeypatch.setattr(entry, "PATIENCE", 0.5)

    return place


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"$@"; exit 0', "`sh -c exit 7` prints '' and ends with 0, not '' and 7"),
        ('echo hello; exec "$@"', "`true` prints 'hello\\n' and ends with 0"),
        ('echo hello >&2; exec "$@"', "`true` is not quiet: 'hello'"),
        ("exec $*", "`sh -c exit 7` prints '' and ends with"),
        ('exec "$@" </dev/null', "`cat` prints '' and ends with 0, not 'typed\\n' and 0"),
        ("exec sleep 60", "it does not end within 0.5 s"),
    ],
)
def test_an_entry_point_that_changes_commands(
    text: str, reason: str, behind: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last case asks for tini, which is not here.
    monkeypatch.setattr(entry, "CASES", entry.CASES[:2] + entry.CASES[4:6])
    behind('exec "$@"')
    assert list(entry.commands()) == []
    behind(text)
    assert reason in "; ".join(entry.commands())


START = {"Entrypoint": list(entry.ENTRY), "WorkingDir": "/code", "User": "1000:100"}


def started(text: object = None, **actual: object) -> str:
    return json.dumps({"actual": {**START, **actual}, "expected": {**START, **dict(text or {})}})  # type: ignore[call-overload]


ONE, OTHER = {"A": "b"}, {"A": "x"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (started(), None),
        (started(Entrypoint=None), "the image's Entrypoint is not set"),
        (started(Entrypoint=["sh"]), "the image's Entrypoint is ['sh']"),
        (started(WorkingDir="/"), "the image's WorkingDir is /"),
        (started(User="0"), "the image's User is 0"),
        (json.dumps({"actual": START}), "DLIMG_START has no config that the image is"),
        (started({"Env": ONE, "Labels": OTHER}, Env=ONE, Labels=OTHER), None),
        (started({"Cmd": ["bash"]}, Cmd=["x"]), "Cmd is not as expected: ['bash']"),
        (started(Healthcheck={"Test": ["x"]}), "Healthcheck is not as expected: not set"),
        (started(StopTimeout=1), "StopTimeout is not as expected: not set"),
        (started(Env=ONE), "has the variable A, which neither layout nor matrix states"),
        (started({"Env": ONE}), "the image lacks the variable A, expected: b"),
        (started({"Env": ONE}, Env=OTHER), "the image's variable A is not as expected: b"),
        (started(Labels=ONE), "has the label A, which neither layout nor matrix states"),
        (started({"Labels": ONE}), "the image lacks the label A, expected: b"),
        (started({"Labels": ONE}, Labels=OTHER), "the image's label A is not as expected: b"),
    ],
)
def test_an_image_that_starts_otherwise(
    monkeypatch: pytest.MonkeyPatch, text: str, reason: str | None
) -> None:
    monkeypatch.setenv("DLIMG_START", text)
    config = next(entry.started(), None)
    assert config is None if reason is None else reason in str(config)


def test_without_a_word_of_the_engine_an_image_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DLIMG_START", "")
    assert next(entry.started()) == f"the image's Entrypoint is not set, not {list(entry.ENTRY)}"


@pytest.mark.parametrize("text", ["[3]", "{", '{"actual": 3}', '{"actual": {}, "expected": "x"}'])
def test_commands_that_cannot_start(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DLIMG_START", text)
    assert code_of(lambda: list(entry.started())) == FAILED
    assert "DLIMG_START is no JSON object of two" in capsys.readouterr().err


def test_an_entry_point_that_keeps_signals(behind: Callable[[str], None]) -> None:
    behind("trap '' TERM; \"$@\"; exit 0")
    assert "SIGTERM does not reach the command: " in next(entry.signals())


def test_an_entry_point_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "ENTRY", ("/none",))
    for home in (entry.commands(), entry.signals(), entry.homes()):
        assert "does not run: " in next(home)


def test_a_home_that_cannot_be_written_to_is_not_kept(behind: Callable[[str], None]) -> None:
    behind('exec "$@"')
    own = f"/tmp/home-{os.geteuid()}"  # noqa: S108  # the entry point's
    assert f"with HOME=/nowhere the home is '', not '{own}'" in "; ".join(entry.homes())


KNOWN = {"known": "ok", "unknown": "refused: no issuer", "renamed": "refused: mismatch"}


def test_tls_as_it_is_here_passes() -> None:
    assert code_of(tls.main) == PASSED


@pytest.mark.parametrize(
    ("spoilt", "cas", "reason"),
    [
        ({}, 150, ""),
        ({"unknown": "ok"}, 150, "a server of an unknown CA is not refused for its certificate: "),
        ({"unknown": "failed: timed out"}, 150, "a server of an unknown CA is not refused"),
        ({"renamed": "ok"}, 150, "a server of another name is not refused for its certificate: "),
        ({"known": "refused: x"}, 150, "a server whose CA is in SSL_CERT_FILE is not trusted: "),
        ({}, 99, "the system's list holds 99 CAs for Python, fewer than 100"),
    ],
)
def test_tls_refuses_bad_certificates(spoilt: dict[str, str], cas: int, reason: str) -> None:
    problems = tls.faults(KNOWN | spoilt, cas)
    assert [fault[: len(reason)] for fault in problems] == ([reason] if reason else [])


def test_tls_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/own.pem")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with tls.given(""):
        assert "SSL_CERT_FILE" not in os.environ
    with tls.given("/other.pem"):
        assert os.environ["SSL_CERT_FILE"] == "/other.pem"
    assert os.environ["SSL_CERT_FILE"] == "/own.pem"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("sh", "-c", "echo no module >&2; exit 3"), "ends with 3, says: no module"),
        (("/none",), "does not run: "),
        (("sleep", "9"), "takes more than 0.2 s"),
    ],
)
def test_a_start_that_fails(
    arguments: tuple[str, ...],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(start, "LIMIT", 0.2)
    assert code_of(lambda: start.timed(*arguments)) == FAILED
    assert reason in capsys.readouterr().err


def test_a_start_is_timed() -> None:
    seconds, output = start.timed("sh", "-c", "echo noise; sleep 0.1; echo 1.2.3")
    assert 0.1 <= seconds < 5
    assert output == "1.2.3"
    assert start.best("sleep", "0.1") >= 0.1


def test_the_framework_is_imported_by_its_own_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start, "PYTHON", "/bin/echo")
    monkeypatch.setattr(start, "ENTRY", ())
    monkeypatch.setenv("DLIMG_CELL", json.dumps({"family": "jax-nlp", "module": "torch"}))
    assert code_of(start.main) == PASSED
    figures = json.loads(capsys.readouterr().out)
    assert figures["version"] == "-c import torch; print(torch.__version__)"
    assert set(figures) >= {"python_seconds", "entry_seconds", "import_seconds"}


def test_secrets_are_named_and_never_told(
    monkeypatch: pytest.MonkeyPatch,
    plant: Plant,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DLIMG_CELL", CELL)
    monkeypatch.setenv("HF_TOKEN", "hidden")
    file = plant("etc/pip.conf", URL)
    assert code_of(lambda: secrets.main(tmp_path)) == FAILED
    printed = capsys.readouterr()
    assert "a secret: HF_TOKEN" in printed.err
    assert f"a secret is in {file}" in printed.err
    assert "hidden" not in printed.err + printed.out


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("RUN /bin/sh -c TOKEN=hidden curl https://example.com", ": TOKEN"),
        ("RUN |1 PIP_PASSWORD=hidden /bin/sh -c true", ": PIP_PASSWORD"),
        ("ARG API_KEY=hidden", ": API_KEY"),
        ("ENV A=b HF_TOKEN='hidden'", ": HF_TOKEN"),
        ("RUN login --password hidden", ": password"),
        ("RUN useradd --password '*hidden' user", ": password"),
        ("RUN useradd --password '*' user", None),
        ("RUN login --api-key=hidden", ": api-key"),
        ("RUN pip install --index-url https://me:hidden@example.com/simple", ""),
        ("RUN echo hf_" + "hidden" * 5, None),
        ("RUN echo hf_" + "hidden" * 5 + "abcd", ""),
        ("ARG TOKEN", None),
        ("ENV TOKEN=", None),
        ("RUN TOKEN=$(cat /run/secrets/token) true", None),
        ("RUN export NETRC=/run/secrets/netrc", None),
        ("LABEL io.dlimg.wheels=tokenizers==0.22 secretstorage==3", None),
        ("RUN pip install --require-hashes a", None),
    ],
)
def test_secrets_in_the_history(step: str, name: str | None) -> None:
    wanted = [] if name is None else [f"step 2 of the history holds a secret{name}"]
    assert secrets.in_history(["CMD bash", step]) == wanted


def test_a_history_with_a_secret_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tmp/dlimg/history.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(["ARG TOKEN=hidden"]))
    monkeypatch.setenv("DLIMG_CELL", CELL)
    monkeypatch.setenv("DLIMG_HISTORY", str(file))
    assert code_of(lambda: secrets.main(tmp_path)) == FAILED
    printed = capsys.readouterr()
    assert printed.err.strip() == "step 1 of the history holds a secret: TOKEN"
    assert "hidden" not in printed.err + printed.out


@pytest.mark.parametrize("text", ["", "{", "3", None])
def test_a_history_that_cannot_be_read_fails(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "history.json").write_text(text)
    assert code_of(lambda: secrets.steps_of(str(tmp_path / "history.json"))) == FAILED
