import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from render_examples import ACTIVE, NASTY_NAMES, original

from runner.output.text import harmless, printable, unprinted


@given(st.binary() | st.text().map(str.encode))
@example(b"\x85 \xc2\x85 \\x85 \\\\x85")
@example(b"\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf")
def test_any_name_is_shown_so_that_its_bytes_can_be_told(name: bytes) -> None:
    shown = printable(name)
    assert name == original(shown)
    assert name.decode("utf-8", "surrogateescape") == unprinted(shown)
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not hidden & set(map(unicodedata.category, shown))


@given(st.text(st.characters(codec="utf-8")))
def test_showing_text_and_its_bytes_is_the_same(text: str) -> None:
    assert printable(text.encode()) == printable(text)


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_making_harmless_twice_changes_nothing(text: str) -> None:
    assert harmless(printable(text)) == printable(text)
    assert harmless(harmless(text)) == harmless(text)
    assert ACTIVE.isdisjoint(harmless(text))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9.md", r"caf\xe9.md"),
        ("café 🦊 日本\u3000語 [b] 'x'.md".encode(), "café 🦊 日本\u3000語 [b] 'x'.md"),
        (b"a\nb\rc\td", r"a\nb\rc\td"),
        (b"\x1b]0;x\x07\x7f", r"\x1b]0;x\x07\x7f"),
        (b"a\\n", r"a\\n"),
        ("\x85\u061c\u200d\u202e\u2028\u2029\ufeff\xad".encode(), r"\u0085\u061c\u200d\u202e\u2028\u2029\ufeff\u00ad"),
        ("\U000e0041\ue000".encode(), r"\U000e0041\ue000"),
        ("\udce9\ud800", r"\xe9\ud800"),
        (b"", ""),
    ],
)
def test_what_controls_or_hides_is_escaped_and_the_rest_stays(name: bytes | str, shown: str) -> None:
    assert shown == printable(name)


def test_messages_keep_their_backslashes() -> None:
    assert harmless("the pattern \\[x\\] matches nothing\x1b") == r"the pattern \[x\] matches nothing\x1b"


def test_no_two_nasty_names_look_alike() -> None:
    assert len(NASTY_NAMES) == len(set(map(printable, NASTY_NAMES)))
