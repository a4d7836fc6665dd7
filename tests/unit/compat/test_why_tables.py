"""Tables of combinations, valid and tempting, each with the rule and source of its answer."""

from typing import Any

import pytest

from tests.support.why_tables import answer, rows

ROWS = rows("combinations")


@pytest.mark.parametrize("row", ROWS, ids=[row["ask"] for row in ROWS])
def test_combinations_of_the_table_are_judged_as_written(row: dict[str, Any]) -> None:
    found = answer(row["ask"])
    said = [(one.rule, one.message) for one in found.reasons]
    assert found.fails_at == row.get("fails_at"), said
    spoken = [one for one in found.reasons if one.rule == row["rule"]]
    assert spoken, said
    assert row["source"] in spoken[0].source, spoken[0]
    assert spoken[0].source
    assert spoken[0].certain is not row.get("doubt", False), spoken[0]
    assert found.combination.cuda == row.get("cuda", found.combination.cuda)
    if found.fails_at and not row.get("doubt"):
        assert any(one.level == "refusal" for one in spoken), said


def test_there_are_more_than_a_hundred_of_each_kind() -> None:
    refused = [row for row in ROWS if row.get("fails_at")]
    assert len(refused) >= 100
    assert len(ROWS) - len(refused) >= 100
