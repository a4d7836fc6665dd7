"""Evidence: kept for each digest, script and device; used again only while it holds."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

import dlimg.checks
from dlimg.checks.container_setup import ROOT, prepare_check
from dlimg.checks.evidence import (
    MOST_RECORDS,
    checks_of,
    closest_record,
    covering_records,
    evidence_document,
    evidence_folder,
    evidence_text,
    parse_document,
    parse_evidence,
    read_evidence,
    reusable_verdict,
    write_evidence,
)
from dlimg.context import Context
from dlimg.model import Check, CheckStatus, Evidence, Host, Verdict
from tests.support.image_folders import files_in

DIGEST = "sha256:" + "a" * 64
CDI = "nvidia.com/gpu=all"
SCHEMA = json.loads(Path(dlimg.checks.__path__[0], "evidence.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
# Fields that older documents do not have.
LATER = {"revision", "dirty"}
HOST = Host(
    system="Debian GNU/Linux 13 (trixie)",
    kernel="6.12.48",
    arch="x86_64",
    processor="AMD EPYC 9554",
    cores=16,
    memory=128_000_000_000,
)
CHECK = Check(name="learns", path="x.py", script="", sha256="1", proves="", seconds=5)


def ran(status: CheckStatus = CheckStatus.PASSED, *, sha256: str = "1", needs: str = "") -> Verdict:
    return Verdict(
        check="learns",
        sha256=sha256,
        status=status,
        reason="so",
        seconds=1.5,
        figures={"loss": [2.0, 1.0]},
        output="printed",
        needs=frozenset({needs} - {""}),
    )


def kept(*verdicts: Verdict, device: str = "none", day: str = "2026-11-21") -> Evidence:
    return Evidence(
        digest=DIGEST,
        cell="a-cell",
        device=device,
        day=day,
        dlimg="0.1",
        engine="28.5",
        verdicts=verdicts,
        host=HOST,
    )


def whole() -> Evidence:
    """Evidence with something in every field."""
    verdict = replace(
        ran(sha256="c" * 64, needs="gpu"), required=False, attempts=2, first_reason="out of memory"
    )
    result = kept(verdict, device=CDI)
    return replace(result, vanished=("old_check",), revision="d" * 40, dirty=True)


def test_evidence_is_read_as_it_was_written(tmp_path: Path) -> None:
    warnings: list[str] = []
    first = kept(ran())
    on_gpu = kept(ran(needs="gpu"), device=CDI)
    again = kept(ran(CheckStatus.FAILED))
    for evidence in (first, on_gpu, again):
        write_evidence(tmp_path, evidence, log=warnings.append)
    found = {one.device: one for one in read_evidence(tmp_path, DIGEST, log=warnings.append)}
    assert found == {"none": again, CDI: on_gpu}
    assert warnings == []
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        ".lock",
        f"{'a' * 64}.json",
        "last",
        "last/a-cell.json",
    ]


def test_evidence_holds_for_one_digest(tmp_path: Path) -> None:
    write_evidence(tmp_path, kept(ran()), log=print)
    assert read_evidence(tmp_path, "sha256:" + "b" * 64, log=print) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"format": 2}',
        json.dumps({"format": 1, "digest": DIGEST, "devices": []}),
        json.dumps({"format": 3, "digest": DIGEST, "devices": []}),
        '{"format": 2, "digest": "another", "devices": []}',
        json.dumps({"format": 2, "digest": DIGEST, "devices": 7}),
        json.dumps({"format": 2, "digest": DIGEST, "devices": [{"device": "none"}]}),
        evidence_text([kept(ran())]).replace('"passed"', '"splendid"'),
        evidence_text([kept(ran())])[:-30],
        "\udcff",
        pytest.param("[" * 100_000, id="nested too deeply"),
    ],
)
def test_a_damaged_file_is_logged_and_replaced(tmp_path: Path, text: str) -> None:
    warnings: list[str] = []
    path = tmp_path / f"{'a' * 64}.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert read_evidence(tmp_path, DIGEST, log=warnings.append) == ()
    assert len(warnings) == 1
    assert str(path) in warnings[0]
    write_evidence(tmp_path, kept(ran()), log=warnings.append)
    assert read_evidence(tmp_path, DIGEST, log=print) == (kept(ran()),)


@pytest.mark.parametrize("folder", ["/proc/none", "{}/file", "{}/file/below"])
def test_an_unwritable_folder_is_logged(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    place = Path(folder.format(tmp_path))
    warnings: list[str] = []
    assert read_evidence(place, DIGEST, log=warnings.append) == ()
    write_evidence(place, kept(ran()), log=warnings.append)
    (warning,) = warnings
    assert warning.startswith(f"warning: verdicts cannot be written to {place} (")


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    write_evidence(tmp_path, kept(ran()), log=print)
    unwritable = kept(replace(ran(), figures={"x": object()}))
    with pytest.raises(TypeError):
        write_evidence(tmp_path, unwritable, log=print)
    assert read_evidence(tmp_path, DIGEST, log=print) == (kept(ran()),)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".lock", "last", f"{'a' * 64}.json"}


def test_concurrent_writers_lose_no_verdict(tmp_path: Path) -> None:
    devices = [f"nvidia.com/gpu={number}" for number in range(12)]
    waits: list[str] = []

    def write(device: str) -> None:
        write_evidence(tmp_path, kept(ran(), device=device), log=waits.append)

    threads = [threading.Thread(target=write, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    evidence = read_evidence(tmp_path, DIGEST, log=print)
    assert sorted(item.device for item in evidence) == sorted(devices)
    assert {text for text in waits if "waiting" not in text} == set()


def test_a_document_keeps_every_field(tmp_path: Path) -> None:
    write_evidence(tmp_path, whole(), log=print)
    assert read_evidence(tmp_path, DIGEST, log=print) == (whole(),)


def test_host_evidence_is_stored_by_family(tmp_path: Path) -> None:
    on_host = replace(kept(ran()), digest="", on_host="jax", engine="")
    write_evidence(tmp_path, on_host, log=print)
    assert (tmp_path / "host-jax.json").is_file()
    assert read_evidence(tmp_path, "", on_host="jax", log=print) == (on_host,)
    assert read_evidence(tmp_path, "", on_host="pytorch", log=print) == ()


@pytest.mark.parametrize(
    ("verdict", "known_on", "device", "holds"),
    [
        (ran(), "none", "none", True),
        (ran(), "none", CDI, False),
        (ran(), CDI, CDI, True),
        (ran(sha256="2"), "none", "none", False),
        (replace(ran(), check="other"), "none", "none", False),
        (ran(CheckStatus.FAILED), "none", "none", False),
        (ran(CheckStatus.NOT_RUN, needs="gpu"), "none", "none", True),
        (ran(CheckStatus.NOT_RUN, needs="gpu"), "none", CDI, False),
        (ran(CheckStatus.NOT_RUN, needs="gpu"), CDI, CDI, False),
        (ran(CheckStatus.NOT_RUN), "none", "none", False),
    ],
)
def test_only_valid_evidence_is_used_again(
    verdict: Verdict, known_on: str, device: str, *, holds: bool
) -> None:
    result = reusable_verdict([kept(verdict, device=known_on)], CHECK, device)
    assert result == (verdict if holds else None)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/dlimg/evidence"),
        ({"HOME": "/h"}, "/h/.local/state/dlimg/evidence"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/dlimg/evidence"),
    ],
)
def test_where_evidence_is_kept(environment: dict[str, str], folder: str) -> None:
    assert str(evidence_folder(Context.of(environment, print))) == folder


def test_the_sha256_of_a_check_covers_its_imports() -> None:
    check = replace(CHECK, path="/p/images/jax/checks/learns.py", sha256="1")
    images = Path("/p/images")
    files = {"common/checks/_gpu.py": b"1", "jax/checks/learns.py": b"2"}
    inputs = prepare_check(check, files_in(images), files)
    assert inputs.path == f"{ROOT}/jax/checks/learns.py"
    assert prepare_check(check, files_in(images), {**files, "jax/checks/other.py": b"3"}) == inputs
    assert (
        prepare_check(check, files_in(images), {**files, "common/checks/_gpu.py": b"4"}).sha256
        != inputs.sha256
    )
    assert (
        prepare_check(replace(check, sha256="2"), files_in(images), files).sha256 != inputs.sha256
    )


def test_the_evidence_file_is_readable_json() -> None:
    text = evidence_text([kept(ran())])
    assert json.loads(text)["devices"][0]["verdicts"][0]["status"] == "passed"
    assert parse_evidence(text, DIGEST) == (kept(ran()),)


@pytest.mark.parametrize(
    "evidence",
    [
        whole(),
        kept(),
        kept(ran(sha256="d" * 64), ran(CheckStatus.NOT_RUN, sha256="e" * 64)),
        replace(kept(ran(sha256="f" * 64)), digest="", on_host="jax", engine="", host=Host()),
    ],
)
def test_a_document_matches_its_schema_and_is_read_back(evidence: Evidence) -> None:
    text = evidence_document(evidence)
    document = json.loads(text)
    jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert set(document) == set(SCHEMA["properties"]) == set(SCHEMA["required"]) | LATER | {"bare"}
    verdict = SCHEMA["properties"]["verdicts"]["items"]
    for record in document["verdicts"]:
        assert set(record) == set(verdict["properties"]) == set(verdict["required"])
    host = SCHEMA["properties"]["host"]
    assert set(document["host"]) == set(host["properties"]) == {*host["required"], "architecture"}
    assert parse_document(text) == evidence
    assert evidence_document(parse_document(text)) == text


def test_figures_that_json_cannot_express_are_texts() -> None:
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    odd = {"loss": float("nan"), "ratio": [float("inf")], "deep": deep, "half": "\ud800"}
    text = evidence_document(kept(replace(ran(sha256="c" * 64), figures=odd)))
    document = json.loads(text, parse_constant=pytest.fail)
    VALIDATOR.validate(document)
    figures = parse_document(text).verdicts[0].figures
    assert (figures["loss"], figures["ratio"], figures["half"]) == ("nan", ["inf"], "?")


def changed(**changes: object) -> Callable[[dict[str, object]], None]:
    return lambda document: document.update(changes)


def verdict_changed(**changes: object) -> Callable[[dict[str, object]], None]:
    def change(document: dict[str, object]) -> None:
        verdicts = document["verdicts"]
        assert isinstance(verdicts, list)
        verdicts[0].update(changes)

    return change


# what is done to a right document, and whether the schema alone would notice
WRONG = [
    (changed(mediaType="application/json"), True),
    (changed(mediaType=None), True),
    (changed(digest="latest"), True),
    (changed(digest=7), True),
    (changed(digest="", on_host=""), True),
    (changed(on_host="jax"), True),
    (changed(schema=4), True),
    (changed(schema="3"), True),
    (changed(day="yesterday"), False),  # `format` is a note to readers of the schema
    (changed(cell=None), True),
    (changed(host=None), True),
    (changed(host={}), True),
    (changed(host={**json.loads(evidence_document(whole()))["host"], "cores": -1}), True),
    (changed(host={**json.loads(evidence_document(whole()))["host"], "memory": True}), True),
    (changed(vanished="all"), True),
    (changed(vanished=[7]), True),
    (changed(revision=7), True),
    (changed(revision=None), True),
    (changed(dirty="no"), True),
    (changed(dirty=1), True),
    (changed(verdicts={}), True),
    (changed(verdicts=["passed"]), True),
    (verdict_changed(status="splendid"), True),
    (verdict_changed(required="yes"), True),
    (verdict_changed(seconds="1"), True),
    (verdict_changed(seconds=-1), True),
    (verdict_changed(seconds=float("nan")), False),
    (verdict_changed(figures=[]), True),
    (verdict_changed(needs=None), True),
    (verdict_changed(attempts=1.5), True),
    (verdict_changed(reason=None), True),
]


@pytest.mark.parametrize(("change", "by_schema"), WRONG)
def test_a_document_with_a_wrong_field_is_refused(
    change: Callable[[dict[str, object]], None], *, by_schema: bool
) -> None:
    document = json.loads(evidence_document(whole()))
    change(document)
    with pytest.raises(ValueError, match=r"is|splendid|holds|has"):
        parse_document(json.dumps(document))
    if by_schema:
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(document)


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{", "{}", "[" * 100_000])
def test_invalid_documents_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_document(text)


def test_unknown_keys_of_a_document_are_ignored() -> None:
    document = json.loads(evidence_document(whole()))
    document["weather"] = "fair"
    jsonschema.validate(document, SCHEMA)
    assert parse_document(json.dumps(document)) == whole()


def test_a_document_without_optional_fields_is_read() -> None:
    document = json.loads(evidence_document(whole()))
    for name in LATER:
        del document[name]
    jsonschema.validate(document, SCHEMA)
    assert parse_document(json.dumps(document)) == replace(whole(), revision="", dirty=False)
    text = evidence_text([kept(ran())])
    records = json.loads(text)
    for name in LATER:
        del records["devices"][0][name]
    assert parse_evidence(json.dumps(records), DIGEST) == (kept(ran()),)


def former(record: dict[str, object], check: str = "tag_is_true") -> dict[str, object]:
    """Return a record as it was written before schema 3."""
    host = dict(json.loads(json.dumps(record["host"])))
    verdicts = json.loads(json.dumps(record["verdicts"]))
    del host["arch"]
    verdicts[0]["check"] = check
    old = {**record, "host": host, "verdicts": verdicts, "vanished": ["nccl_adds"]}
    del old["on_host"]
    return old


def test_a_document_before_schema_3_is_read_with_the_names_of_today() -> None:
    document = former(json.loads(evidence_document(whole())))
    del document["schema"]
    evidence = parse_document(json.dumps(document))
    assert evidence.host == whole().host
    assert evidence.verdicts[0].check == "tag_matches_image"
    assert evidence.vanished == ("nccl_all_reduce",)


def test_a_check_of_today_may_have_a_former_name() -> None:
    own = kept(replace(ran(), check="tag_is_true"))
    assert parse_evidence(evidence_text([own]), DIGEST) == (own,)


def test_host_evidence_before_schema_3_is_read_and_written_anew(tmp_path: Path) -> None:
    on_host = replace(
        kept(ran(), device="host"), digest="", on_host="jax", engine="", cell="host-jax-1-py3.13"
    )
    content = json.loads(evidence_text([on_host]))
    (record,) = content["devices"]
    old = {**former(record, CHECK.name), "device": "bare", "cell": "bare-jax-1-py3.13"}
    text = json.dumps({"format": 2, "digest": "", "devices": [old]})
    (tmp_path / "bare-jax.json").write_text(text)
    (evidence,) = read_evidence(tmp_path, "", on_host="jax", log=pytest.fail)
    assert evidence == replace(on_host, vanished=("nccl_all_reduce",))
    write_evidence(tmp_path, replace(on_host, device="none"), log=pytest.fail)
    assert len(read_evidence(tmp_path, "", on_host="jax", log=pytest.fail)) == 2
    assert (tmp_path / "host-jax.json").is_file()


OWN = replace(ran(), check="mine", sha256="2")
OTHER = replace(ran(), sha256="3")


def test_each_set_of_checks_has_its_own_record(tmp_path: Path) -> None:
    """A clone with checks of its own, or with other scripts, takes nothing away from another."""
    sets = [kept(ran()), kept(ran(), OWN), kept(OTHER), kept(ran(), device=CDI)]
    for one in sets:
        write_evidence(tmp_path, one, log=pytest.fail)
    assert read_evidence(tmp_path, DIGEST, log=pytest.fail) == tuple(sets)
    again = kept(ran(CheckStatus.FAILED), OWN)
    write_evidence(tmp_path, again, log=pytest.fail)
    evidence = read_evidence(tmp_path, DIGEST, log=pytest.fail)
    assert evidence == (sets[0], sets[2], sets[3], again)


def test_only_the_latest_records_of_a_device_are_kept(tmp_path: Path) -> None:
    on_gpu = kept(ran(), device=CDI)
    many = [kept(ran(sha256=str(number))) for number in range(MOST_RECORDS + 3)]
    for check in (on_gpu, *many):
        write_evidence(tmp_path, check, log=pytest.fail)
    evidence = read_evidence(tmp_path, DIGEST, log=pytest.fail)
    assert evidence == (on_gpu, *many[3:])


@pytest.mark.parametrize(
    ("known", "wanted", "device", "expected"),
    [
        ([], kept(ran()), "none", None),
        ([kept(ran())], kept(ran()), "none", 0),
        ([kept(ran())], kept(ran()), CDI, None),
        ([kept(ran()), kept(ran(), OWN)], kept(ran()), "none", 0),
        ([kept(OTHER), kept(ran(), OWN)], kept(ran()), "none", 1),
        ([kept(ran(), OWN), kept(OTHER)], kept(ran()), "none", 0),
        ([kept(OTHER), kept(OTHER, OWN)], kept(ran()), "none", 1),
    ],
)
def test_the_closest_record_to_a_set_of_checks(
    known: list[Evidence], wanted: Evidence, device: str, expected: int | None
) -> None:
    result = closest_record(known, checks_of(wanted), device)
    assert result == (None if expected is None else known[expected])


def test_covering_records_have_only_the_given_checks() -> None:
    wanted = checks_of(kept(ran()))
    more = kept(ran(), OWN)
    assert covering_records([kept(OTHER)], wanted) == ()
    assert covering_records([more], wanted) == (kept(ran()),)
    assert covering_records([kept(ran(), day="2026-11-01"), more], wanted)[0].day == "2026-11-01"
    assert covering_records([more], checks_of(more)) == (more,)
    assert covering_records([kept(ran())], checks_of(more)) == ()
    both = covering_records([more, kept(ran(), device=CDI)], wanted)
    assert [engine.device for engine in both] == ["none", CDI]
