"""Amounts as people read them: one thing is, two things are."""

import pytest

from dlimg.units import counted


@pytest.mark.parametrize(
    ("number", "verb", "text"),
    [
        (0, "is", "0 cells are"),
        (1, "is", "1 cell is"),
        (2, "is", "2 cells are"),
        (1, "was", "1 cell was"),
        (2, "has", "2 cells have"),
        (2, "", "2 cells"),
        (1, "", "1 cell"),
    ],
)
def test_nouns_and_verbs_agree_with_the_number(number: int, verb: str, text: str) -> None:
    assert counted(number, "cell", verb) == text


def test_a_verb_without_a_plural_is_an_error() -> None:
    with pytest.raises(KeyError):
        counted(2, "cell", "goes")
