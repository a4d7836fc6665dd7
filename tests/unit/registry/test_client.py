"""The registry client against a registry in this process."""

import base64
import io
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.engine.client import error_reason
from dlimg.errors import BadInput, NetworkFailure
from dlimg.registry import blobs
from dlimg.registry.auth import Login, login_for, parse_challenge
from dlimg.registry.blobs import has_blob, read_blob, read_blob_blocks, upload_blob
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import Descriptor, read_manifest, resolve_digest, select_platform
from dlimg.registry.reference import ImageReference, is_loopback, parse_reference, registry_url
from dlimg.registry.referrers import (
    Artifact,
    artifact_manifest,
    attach_artifact,
    list_referrers,
    read_artifact,
)
from tests.support.fake_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    Answer,
    FakeRegistry,
    running,
    sha256,
)

SOMETHING = Artifact(kind="application/x", text="a text", title="x", annotations={"b": "2"})
IMAGE = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": []}


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as registry:
        yield registry


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "PAUSE", 0.001)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}


@pytest.fixture
def team(fake: FakeRegistry, home: dict[str, str]) -> Iterator[Repository]:
    with open_registry(fake.host, Context.of(home, print)) as registry:
        yield Repository(registry=registry, name="team/jax")


def logged_in(home: dict[str, str], host: str, login: str = "me:secret") -> None:
    word = base64.b64encode(login.encode()).decode()
    settings = {"auths": {host: {"auth": word}}}
    Path(home["DOCKER_CONFIG"], "config.json").write_text(json.dumps(settings))


D = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ghcr.io/team/jax:1", ImageReference(host="ghcr.io", name="team/jax", tag="1")),
        ("127.0.0.1:5000/jax", ImageReference(host="127.0.0.1:5000", name="jax", tag="latest")),
        ("[::1]:5000/a/b", ImageReference(host="[::1]:5000", name="a/b", tag="latest")),
        ("localhost/a", ImageReference(host="localhost", name="a", tag="latest")),
        (f"x.y/a@{D}", ImageReference(host="x.y", name="a", digest=D)),
        (f"x.y/a:1@{D}", ImageReference(host="x.y", name="a", tag="1", digest=D)),
        ("docker.io/debian", ImageReference(host="docker.io", name="library/debian", tag="latest")),
        ("dlimg/jax:1", ImageReference(host="", name="dlimg/jax", tag="1")),
        ("jax", ImageReference(host="", name="jax", tag="latest")),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(text: str, expected: ImageReference) -> None:
    assert parse_reference(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "https://x.y/a",
        "x.y/",
        "x.y/a:",
        "x.y/a@sha256:1",
        "x.y/A:1",
        "a b",
        "x.y/a:-1",
        ":1",
    ],
)
def test_invalid_references_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no image reference"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("127.9.9.9", "http://127.9.9.9"),
        ("localhost:1", "http://localhost:1"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ("127.0.0.1.evil.org", "https://127.0.0.1.evil.org"),
        ("localhost.evil.org", "https://localhost.evil.org"),
        ("docker.io", "https://registry-1.docker.io"),
    ],
)
def test_only_loopback_addresses_use_plain_http(host: str, expected: str) -> None:
    assert registry_url(host) == expected
    assert is_loopback(host) == expected.startswith("http://")


def test_a_manifest_is_read_by_tag_and_digest(fake: FakeRegistry, team: Repository) -> None:
    digest = fake.put_manifest("team/jax", IMAGE, "latest")
    result = read_manifest(team, "latest")
    assert result is not None
    assert (result.digest, result.media_type, result.content) == (digest, OCI_MANIFEST, IMAGE)
    assert resolve_digest(team, "latest") == digest
    assert read_manifest(team, "other") is None
    assert resolve_digest(team, "other") == ""


@pytest.mark.parametrize("version", ["latest", "digest"])
def test_a_manifest_with_another_digest_is_refused(
    fake: FakeRegistry, team: Repository, version: str
) -> None:
    digest = fake.put_manifest("team/jax", IMAGE, "latest")
    asked = digest if version == "digest" else version
    false = Answer(headers={"Docker-Content-Digest": digest}, body=b'{"layers": []}')
    fake.odd[f"/v2/team/jax/manifests/{asked}"] = [false]
    with pytest.raises(NetworkFailure, match=f"{digest} and sends sha256:"):
        read_manifest(team, asked)


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (
            Answer(headers={"Content-Type": "text/html"}, body=b"<html>log in</html>"),
            "is no registry: it sends text/html",
            "login page",
        ),
        (
            Answer(status=403, body=b'{"errors":[{"code":"DENIED","message":"not yours"}]}'),
            "403 Forbidden, DENIED not yours",
            "docker login 127.0.0.1",
        ),
        (Answer(status=500, body=b"<html>"), "500 Internal Server Error", "run it again later"),
        (Answer(status=401), "wants a login", "docker login 127.0.0.1"),
        (Answer(status=429, headers={"Retry-After": "3600"}), "429 Too Many", "log in, or wait"),
        (Answer(seconds=1.0), "does not answer within 0.5 s", "HTTPS_PROXY"),
        (Answer(body=b"[" * 100_000), "is no registry", ""),
        (
            Answer(headers={"Location": "http://x.y/a"}, status=302),
            "redirects to http://x.y/a, which",
            "",
        ),
        (Answer(headers={"Content-Length": "9"}, body=b"{}"), "broke during", ""),
    ],
)
def test_invalid_responses_are_refused(
    fake: FakeRegistry, team: Repository, answer: Answer, message: str, hint: str
) -> None:
    fake.odd["/v2/team/jax/manifests/latest"] = [answer] * 9
    if answer.seconds or "Content-Length" in answer.headers:  # it is waited for in vain
        team = replace(team, registry=replace(team.registry, seconds=0.5))
    with pytest.raises(NetworkFailure, match=message) as raised:
        read_manifest(team, "latest")
    assert raised.value.exit_code == 5
    assert hint in str(raised.value)


def test_a_document_without_an_end_is_refused(fake: FakeRegistry, team: Repository) -> None:
    body = b"[" + b"1," * (3 * 2**20)
    fake.odd["/v2/team/jax/manifests/latest"] = [Answer(body=body)]
    with pytest.raises(NetworkFailure, match="more than 4194304 bytes"):
        read_manifest(team, "latest")


def test_an_unreachable_registry_is_reported(home: dict[str, str]) -> None:
    with (
        open_registry("127.0.0.1:9", Context.of(home, print)) as registry,
        pytest.raises(NetworkFailure, match="cannot be reached: Connection refused"),
    ):
        read_manifest(Repository(registry=registry, name="a"), "latest")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ssl.SSLError(1, "[SSL] wrong version number"), "[SSL] wrong version number"),
        (ConnectionRefusedError(111, "x"), "Connection refused"),
    ],
)
def test_connection_errors_are_explained(error: OSError, expected: str) -> None:
    assert expected in error_reason(ValueError("outer", error))


def test_retry_after_is_honoured(fake: FakeRegistry, team: Repository) -> None:
    fake.put_manifest("team/jax", IMAGE, "latest")
    busy = Answer(status=429, headers={"Retry-After": "0"})
    fake.odd["/v2/team/jax/manifests/latest"] = [busy, Answer(status=503, headers=busy.headers)]
    assert read_manifest(team, "latest") is not None
    assert len(fake.asked) == 3


def test_the_image_for_linux_amd64_is_selected_from_an_index(
    fake: FakeRegistry, team: Repository
) -> None:
    image = fake.put_manifest("team/jax", IMAGE)
    entries = [
        {"digest": D, "size": 1, "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": D, "size": 1, "platform": {"os": "unknown", "architecture": "unknown"}},
        {"digest": image, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}},
    ]
    fake.put_manifest("team/jax", {"manifests": entries}, "all", kind=OCI_INDEX)
    fake.put_manifest("team/jax", {"manifests": entries[:2]}, "arm", kind=OCI_INDEX)
    index = read_manifest(team, "all")
    assert index is not None
    assert select_platform(team, index).digest == image
    other = read_manifest(team, "arm")
    assert other is not None
    with pytest.raises(BadInput, match="no image for linux/amd64") as raised:
        select_platform(team, other)
    assert "it has linux/arm64" in str(raised.value)


def test_a_blob_is_sent_once_and_read_back(fake: FakeRegistry, team: Repository) -> None:
    content = bytes(range(256)) * 20_000
    digest = sha256(content)
    file = io.BytesIO(b"before" + content)
    file.seek(6)
    assert not has_blob(team, digest)
    assert upload_blob(team, file, digest, len(content)) == "uploaded"
    assert upload_blob(team, file, digest, len(content)) == "present"
    assert b"".join(read_blob_blocks(team, digest)) == content
    assert fake.paths("PUT") == ["/v2/team/jax/blobs/uploads/1"]


def test_a_blob_is_sent_again_from_its_start(fake: FakeRegistry, team: Repository) -> None:
    content = b"x" * 3_000_000
    again = Answer(status=503, headers={"Retry-After": "0"})
    fake.odd["PUT /v2/team/jax/blobs/uploads/1"] = [again]
    assert upload_blob(team, io.BytesIO(content), sha256(content), len(content)) == "uploaded"
    assert fake.blobs["team/jax", sha256(content)] == content


CONTENT = bytes(range(256)) * 4_000


@pytest.mark.parametrize(
    ("breaks", "keeps", "received"),
    [
        ([1], True, 1),  # `0-0` may mean one byte or none: all is sent again
        ([500_000], True, 0),
        ([500_000, 300_000], True, 0),
        ([500_000], False, 500_000),
    ],
)
def test_a_broken_upload_goes_on_where_it_broke(
    fake: FakeRegistry, team: Repository, breaks: list[int], received: int, *, keeps: bool
) -> None:
    fake.breaks, fake.keeps = breaks, keeps
    file = io.BytesIO(b"before" + CONTENT)
    file.seek(6)
    assert upload_blob(team, file, sha256(CONTENT), len(CONTENT)) == "uploaded"
    assert fake.blobs["team/jax", sha256(CONTENT)] == CONTENT
    assert fake.received == len(CONTENT) + received


def test_an_upload_that_breaks_every_time_is_given_up(fake: FakeRegistry, team: Repository) -> None:
    fake.breaks = [1] * 9
    with pytest.raises(NetworkFailure, match="cannot be reached"):
        upload_blob(team, io.BytesIO(CONTENT), sha256(CONTENT), len(CONTENT))
    assert len(fake.breaks) == 5


def test_large_blobs_are_sent_in_chunks(
    fake: FakeRegistry, team: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "CHUNK", 300_000)
    fake.most = 300_000
    assert upload_blob(team, io.BytesIO(CONTENT), sha256(CONTENT), len(CONTENT)) == "uploaded"
    assert fake.blobs["team/jax", sha256(CONTENT)] == CONTENT
    assert len(fake.paths("PATCH")) == 4
    fake.most = 1000
    with pytest.raises(NetworkFailure, match="413") as raised:
        upload_blob(team, io.BytesIO(CONTENT[1:]), sha256(CONTENT[1:]), len(CONTENT) - 1)
    assert "client_max_body_size" in str(raised.value)


def test_a_blob_stored_under_another_digest_is_refused(
    fake: FakeRegistry, team: Repository
) -> None:
    other = Answer(status=201, headers={"Docker-Content-Digest": D})
    fake.odd["PUT /v2/team/jax/blobs/uploads/1"] = [other]
    with pytest.raises(NetworkFailure, match=f"was sent, the registry stored {D}"):
        upload_blob(team, io.BytesIO(b"a"), sha256(b"a"), 1)


def test_a_login_during_an_upload_sends_the_blob_again(
    fake: FakeRegistry, home: dict[str, str]
) -> None:
    fake.login, fake.expires = ("me", "secret"), 1
    logged_in(home, fake.host)
    with open_registry(fake.host, Context.of(home, print)) as registry:
        team = Repository(registry=registry, name="team/jax")
        assert upload_blob(team, io.BytesIO(CONTENT), sha256(CONTENT), len(CONTENT)) == "uploaded"
    assert fake.blobs["team/jax", sha256(CONTENT)] == CONTENT


def test_a_blob_is_uploaded_where_mounts_are_not_supported(
    fake: FakeRegistry, team: Repository
) -> None:
    digest = fake.put_blob("team/torch", b"shared")
    fake.mounts = False
    assert upload_blob(team, io.BytesIO(b"shared"), digest, 6, source="team/torch") == "uploaded"
    fake.odd["POST /v2/team/jax/blobs/uploads/"] = [Answer(status=405)]
    other = fake.put_blob("team/torch", b"other")
    assert upload_blob(team, io.BytesIO(b"other"), other, 5, source="team/torch") == "uploaded"


def test_a_blob_is_mounted_from_another_repository(fake: FakeRegistry, team: Repository) -> None:
    digest = fake.put_blob("team/torch", b"shared")
    assert upload_blob(team, io.BytesIO(b"shared"), digest, 6, source="team/torch") == "mounted"
    assert not fake.paths("PUT")
    other = io.BytesIO(b"other")
    assert upload_blob(team, other, sha256(b"other"), 5, source="team/torch") == "uploaded"


def test_a_blob_is_uploaded_where_the_source_is_not_readable(
    fake: FakeRegistry, team: Repository
) -> None:
    fake.odd["POST /v2/team/jax/blobs/uploads/"] = [Answer(status=403)]
    sent = upload_blob(team, io.BytesIO(b"a"), sha256(b"a"), 1, source="other/torch")
    assert sent == "uploaded"


def test_a_blob_with_a_wrong_digest_is_refused(fake: FakeRegistry, team: Repository) -> None:
    with pytest.raises(NetworkFailure, match=r"does not take .* DIGEST_INVALID"):
        upload_blob(team, io.BytesIO(b"a"), sha256(b"b"), 1)
    fake.blobs["team/jax", D] = b"other"
    with pytest.raises(NetworkFailure, match="sends other bytes"):
        read_blob(team, D)
    with pytest.raises(NetworkFailure, match="sends other bytes"):
        b"".join(read_blob_blocks(team, D))
    with pytest.raises(NetworkFailure, match=r"does not give sha256:.*404"):
        read_blob(team, sha256(b"nothing"))
    big = fake.put_blob("team/jax", b"a" * 100)
    with pytest.raises(NetworkFailure, match="more than 99 bytes"):
        read_blob(team, big, limit=99)


def test_no_authorization_goes_to_another_host(fake: FakeRegistry, home: dict[str, str]) -> None:
    fake.login = ("me", "secret")
    digest = fake.put_blob("team/jax", b"content")
    logged_in(home, fake.host)
    # netrc, too, has nothing to say to where the registry sends us.
    Path(home["HOME"], ".netrc").write_text("default login me password secret\n")
    with running(FakeRegistry()) as other:
        other.put_blob("team/jax", b"content")
        fake.blobs_elsewhere = f"http://{other.host}"
        with open_registry(fake.host, Context.of(home, print)) as registry:
            assert read_blob(Repository(registry=registry, name="team/jax"), digest) == b"content"
        assert [authorization for _, _, authorization in other.asked] == [""]
    assert fake.asked[-1][2].startswith("Bearer ")


def test_a_token_is_requested_once_for_each_scope(fake: FakeRegistry, home: dict[str, str]) -> None:
    fake.login = ("me", "secret")
    logged_in(home, f"https://{fake.host}/v1/")
    shared = fake.put_blob("team/torch", b"shared")
    with open_registry(fake.host, Context.of(home, print)) as registry:
        team = Repository(registry=registry, name="team/jax")
        assert read_manifest(team, "latest") is None
        assert read_manifest(team, "latest") is None
        assert fake.paths("GET").count("/token") == 1
        upload_blob(team, io.BytesIO(b"new"), sha256(b"new"), 3)
        assert upload_blob(team, io.BytesIO(b""), shared, 6, source="team/torch") == "mounted"
        attach_artifact(team, SOMETHING, Descriptor(media_type=OCI_MANIFEST, digest=D, size=1))
    asked = [query for path, query in fake.bodies if path == "/token"]
    assert len(asked) == 3
    assert (
        "scope=repository%3Ateam%2Fjax%3Apull%2Cpush&scope=repository%3Ateam%2Ftorch%3Apull"
        in (asked[-1])
    )


def test_an_identity_token_replaces_the_password(fake: FakeRegistry, home: dict[str, str]) -> None:
    fake.login = ("", "identity")
    settings = {"auths": {fake.host: {"identitytoken": "identity"}}}
    Path(home["DOCKER_CONFIG"], "config.json").write_text(json.dumps(settings))
    with open_registry(fake.host, Context.of(home, print)) as registry:
        assert read_manifest(Repository(registry=registry, name="team/jax"), "latest") is None


@pytest.mark.parametrize("basic", [True, False])
def test_a_wrong_or_missing_login_says_what_to_do(
    fake: FakeRegistry, home: dict[str, str], *, basic: bool
) -> None:
    fake.login = ("me", "secret")
    fake.basic = basic
    for login in ("", "me:wrong"):
        if login:
            logged_in(home, fake.host, login)
        with (
            open_registry(fake.host, Context.of(home, print)) as registry,
            pytest.raises(NetworkFailure) as raised,
        ):
            read_manifest(Repository(registry=registry, name="a"), "latest")
        assert f"docker login {fake.host}" in str(raised.value)
        assert "wrong" not in str(raised.value)
    logged_in(home, fake.host)
    with open_registry(fake.host, Context.of(home, print)) as registry:
        assert read_manifest(Repository(registry=registry, name="a"), "latest") is None


@pytest.mark.parametrize(
    ("text", "kind", "realm"),
    [
        ('Bearer realm="https://a/t",service="s"', "bearer", "https://a/t"),
        ('basic realm="r", BEARER realm="https://a/t"', "bearer", "https://a/t"),
        ('Basic realm="r"', "basic", "r"),
        ("Negotiate", "", None),
        ("", "", None),
    ],
)
def test_a_challenge_is_read(text: str, kind: str, realm: str | None) -> None:
    result, parameters = parse_challenge(text)
    assert (result, parameters.get("realm")) == (kind, realm)


def test_a_login_is_never_sent_unencrypted(fake: FakeRegistry, home: dict[str, str]) -> None:
    logged_in(home, fake.host)
    challenge = {"WWW-Authenticate": 'Bearer realm="http://x.y/t"'}
    fake.odd["/v2/a/manifests/1"] = [Answer(status=401, headers=challenge)]
    with (
        open_registry(fake.host, Context.of(home, print)) as registry,
        pytest.raises(NetworkFailure, match="which is not encrypted"),
    ):
        read_manifest(Repository(registry=registry, name="a"), "1")


def test_logins_come_from_docker_and_its_helpers(
    home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert login_for("x.y", Context.of(home, print)) is None
    logged_in(home, "x.y", "me:a:b")
    assert login_for("x.y", Context.of(home, print)) == Login(name="me", password="a:b")  # noqa: S106
    assert login_for("other.y", Context.of(home, print)) is None
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        "#!/bin/sh\nread -r host\n"
        '[ "$host" = x.y ] || { echo "credentials not found in native keychain"; exit 1; }\n'
        'echo "{\\"Username\\": \\"$WHO\\", \\"Secret\\": \\"s\\"}"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    file = tmp_path / "config.json"
    file.write_text('{"credsStore": "test"}')
    she = Context.of({**home, "WHO": "she"}, print)
    assert login_for("x.y", she) == Login(name="she", password="s")  # noqa: S106
    assert login_for("other.y", she) is None
    file.write_text('{"credHelpers": {"x.y": "gone"}}')
    with pytest.raises(BadInput, match="docker-credential-gone not installed") as raised:
        login_for("x.y", Context.of(home, print))
    assert "docker login x.y" in str(raised.value)
    file.write_text('{"auths": {"x.y": {"auth": "no base64"}}}')
    with pytest.raises(BadInput, match="cannot be read"):
        login_for("x.y", Context.of(home, print))


@pytest.mark.parametrize("api", [True, False])
def test_an_artifact_is_attached_once_and_found(
    fake: FakeRegistry, team: Repository, *, api: bool
) -> None:
    fake.referrers_api = api
    digest = fake.put_manifest("team/jax", IMAGE, "latest")
    subject = Descriptor(media_type=OCI_MANIFEST, digest=digest, size=len(json.dumps(IMAGE)))
    assert list_referrers(team, digest) == ()
    first = attach_artifact(team, SOMETHING, subject)
    second = attach_artifact(team, Artifact(kind="application/y", text="b", title="y"), subject)
    assert attach_artifact(team, SOMETHING, subject) == first
    referrers = list_referrers(team, digest)
    assert [referrer.digest for referrer in referrers] == [first, second]
    assert [referrer.artifact_type for referrer in referrers] == ["application/x", "application/y"]
    assert referrers[0].annotations == {"b": "2"}
    assert read_artifact(team, referrers[0], digest) == "a text"
    fallback = ("team/jax", digest.replace(":", "-")) in fake.manifests
    assert fallback is not api


def test_every_page_of_referrers_is_read(fake: FakeRegistry, team: Repository) -> None:
    fake.pages = 2
    subject = Descriptor(media_type=OCI_MANIFEST, digest=D, size=1)
    attached = [
        attach_artifact(team, Artifact(kind="application/x", text=str(number), title="x"), subject)
        for number in range(5)
    ]
    assert [referrer.digest for referrer in list_referrers(team, D)] == attached


def test_an_overwritten_referrers_index_is_written_again(
    fake: FakeRegistry, team: Repository
) -> None:
    fake.referrers_api = False
    fake.forgets = 2
    subject = Descriptor(media_type=OCI_MANIFEST, digest=D, size=1)
    digest = attach_artifact(team, SOMETHING, subject)
    assert [referrer.digest for referrer in list_referrers(team, D)] == [digest]
    fake.forgets = 99
    with pytest.raises(NetworkFailure, match="does not keep"):
        attach_artifact(team, Artifact(kind="application/x", text="c", title="x"), subject)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=405),
        Answer(headers={"Content-Type": "text/html"}, body=b"<html>"),
        Answer(body=b'{"name": "something else"}'),
    ],
)
def test_any_unknown_path_response_means_no_referrers_api(
    fake: FakeRegistry, team: Repository, answer: Answer
) -> None:
    fake.referrers_api = False
    subject = Descriptor(media_type=OCI_MANIFEST, digest=D, size=1)
    digest = attach_artifact(team, SOMETHING, subject)
    fake.odd[f"/v2/team/jax/referrers/{D}"] = [answer]
    assert [referrer.digest for referrer in list_referrers(team, D)] == [digest]


def test_an_image_under_the_tag_of_its_referrers_is_not_a_list(
    fake: FakeRegistry, team: Repository
) -> None:
    fake.referrers_api = False
    entries = [{"mediaType": OCI_MANIFEST, "digest": D, "size": 1}]
    content = {"mediaType": OCI_INDEX, "manifests": entries}
    digest = fake.put_manifest("team/jax", content, kind=OCI_INDEX)
    fake.manifests["team/jax", digest.replace(":", "-")] = fake.manifests["team/jax", digest]
    assert list_referrers(team, digest) == ()


def test_an_artifact_with_another_subject_is_refused(fake: FakeRegistry, team: Repository) -> None:
    subject = Descriptor(media_type=OCI_MANIFEST, digest=D, size=1)
    attach_artifact(team, SOMETHING, subject)
    (referrers,) = list_referrers(team, D)
    with pytest.raises(ValueError, match="belongs to another image"):
        read_artifact(team, referrers, sha256(b"another"))
    empty = fake.put_manifest("team/jax", {"subject": {"digest": D}, "layers": []})
    with pytest.raises(ValueError, match="0 layers"):
        read_artifact(team, Descriptor(media_type="", digest=empty, size=1), D)


def test_the_refusal_of_an_artifact_is_reported(fake: FakeRegistry, team: Repository) -> None:
    no = Answer(status=400, body=b'{"errors":[{"code":"MANIFEST_INVALID","message":"type"}]}')
    fake.put_blob("team/jax", b"{}")
    fake.put_blob("team/jax", b"a text")
    subject = Descriptor(media_type=OCI_MANIFEST, digest=D, size=1)
    digest = sha256(artifact_manifest(SOMETHING, subject))
    fake.odd[f"PUT /v2/team/jax/manifests/{digest}"] = [no]
    with pytest.raises(NetworkFailure, match=r"does not take .* MANIFEST_INVALID type"):
        attach_artifact(team, SOMETHING, subject)
