"""The host's own apt entries, and source lists for other suites from them."""

import pytest

from dlimg.debian.apt_sources import (
    ALL_POCKETS,
    MAIN_ONLY,
    OsRelease,
    own_sources,
    parse_deb822,
    parse_one_line,
    parse_release,
    source_list,
)

BOOKWORM = OsRelease(vendor="debian", suite="bookworm", family=frozenset({"debian"}))
NOBLE = OsRelease(vendor="ubuntu", suite="noble", family=frozenset({"ubuntu", "debian"}))

STANZAS = """\
Types: deb deb-src
# a comment in between
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: https://others.example/repo
Suites: bookworm
Components: stable

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""

LINES = """\
# deb http://commented.example/ubuntu noble main
deb http://mirror.example/ubuntu/ noble main restricted # the end
deb [arch=amd64,arm64 signed-by=/k.gpg] http://mirror.example/ubuntu noble-security main universe
deb-src http://mirror.example/ubuntu noble main
deb https://others.example/ubuntu-like/apt noble main
"""


def test_the_release_of_os_release() -> None:
    text = 'ID=ubuntu\nID_LIKE="debian"\nVERSION_CODENAME=noble\nNAME="Ubuntu"\n'
    assert parse_release(text) == NOBLE
    assert parse_release("").vendor == ""


def test_stanzas_give_the_same_place_for_another_suite() -> None:
    own = own_sources(parse_deb822(STANZAS), BOOKWORM)
    assert [source.suites for source in own] == [
        ("bookworm", "bookworm-updates"),
        ("bookworm-security",),
    ]
    assert source_list(own, "forky", pockets=MAIN_ONLY) == (
        "Types: deb\n"
        "URIs: http://mirror.example/debian\n"
        "Suites: forky\n"
        "Components: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )
    everything = source_list(own, "trixie", pockets=ALL_POCKETS)
    assert "Suites: trixie trixie-updates\n" in everything
    assert "Suites: trixie-security\n" in everything


def test_lines_give_the_same_place() -> None:
    own = own_sources(parse_one_line(LINES), NOBLE)
    assert [source.uris for source in own] == [
        "http://mirror.example/ubuntu/",
        "http://mirror.example/ubuntu",
    ]
    text = source_list(own, "noble", pockets=ALL_POCKETS, components=("main", "universe"))
    assert text == (
        "Types: deb\n"
        "URIs: http://mirror.example/ubuntu/\n"
        "Suites: noble\n"
        "Components: main universe\n"
        "\n"
        "Types: deb\n"
        "URIs: http://mirror.example/ubuntu\n"
        "Suites: noble-security\n"
        "Components: main universe\n"
        "Architectures: amd64 arm64\n"
        "Signed-By: /k.gpg\n"
    )


def test_what_is_written_can_be_read_again() -> None:
    own = own_sources(parse_deb822(STANZAS), BOOKWORM)
    again = parse_deb822(source_list(own, "bookworm", pockets=ALL_POCKETS))
    assert own_sources(again, BOOKWORM)[0].suites == own[0].suites
    assert again[0].fields == own[0].fields


def test_a_key_inside_the_stanza_is_kept_word_for_word() -> None:
    text = (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
    )
    own = own_sources(parse_deb822(text), BOOKWORM)
    assert source_list(own, "forky", pockets=MAIN_ONLY).endswith(
        "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("deb http://mirror.example/debian bookworm main", True),
        ("deb http://mirror.example/debian/ stable main", True),  # a name that moves
        (
            "deb [signed-by=/k/debian-archive-keyring.gpg] http://m.example/1/ bookworm main",
            True,
        ),
        ("deb http://elsewhere.example/anything bookworm main", True),  # nothing better is there
        ("deb http://mirror.example/debian trixie main", False),
        ("deb http://mirror.example/debian bookworm contrib", False),
        ("nonsense", False),
        ("deb", False),
    ],
)
def test_which_entries_are_the_machines_own(line: str, *, found: bool) -> None:
    assert bool(own_sources(parse_one_line(line), BOOKWORM)) == found


def test_the_distributions_own_entry_goes_before_others_of_the_same_suite() -> None:
    text = (
        "deb http://others.example/repo/prod bookworm main\n"
        "deb http://mirror.example/debian bookworm main\n"
    )
    own = own_sources(parse_one_line(text), BOOKWORM)
    assert [source.uris for source in own] == ["http://mirror.example/debian"]
