"""Facts made from texts in YAML."""

from collections.abc import Mapping

from dlimg.facts.load import Facts, facts_of
from dlimg.facts.parse import rows_of


def parse_facts(texts: Mapping[str, str]) -> Facts:
    """Return the facts in these texts by file name."""
    return facts_of({name: rows_of(text, name) for name, text in texts.items()})
