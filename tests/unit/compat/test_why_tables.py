"""Tables of combinations, valid and tempting, each with the rule and source of its answer."""

from typing import Any

import pytest

from tests.support.why_tables import answer, rows

ROWS = rows("combinations")


@pytest.mark.parametrize("row", ROWS, ids=[row["ask"] for row in ROWS])
def test_combinations_of_the_table_are_judged_as_written(row: dict[str, Any]) -> None:
    judged = answer(row["ask"])
    messages = [(reason.rule, reason.message) for reason in judged.reasons]
    assert judged.fails_at == row.get("fails_at"), messages
    reasons = [reason for reason in judged.reasons if reason.rule == row["rule"]]
    assert reasons, messages
    assert row["source"] in reasons[0].source, reasons[0]
    assert reasons[0].source
    assert reasons[0].certain is not row.get("doubt", False), reasons[0]
    assert judged.combination.cuda == row.get("cuda", judged.combination.cuda)
    if judged.fails_at and not row.get("doubt"):
        assert any(reason.level == "refusal" for reason in reasons), messages


def test_there_are_more_than_a_hundred_of_each_kind() -> None:
    refused = [row for row in ROWS if row.get("fails_at")]
    assert len(refused) >= 100
    assert len(ROWS) - len(refused) >= 100
