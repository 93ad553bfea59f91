import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.model.errors import UsageError
from runner.model.toml import Document, NumberedTable, read_text, write_comment, write_key, write_value

LINED = '''\
# a comment

top = 1
[jobs.docs]  # the first
root = "x"

# what to find
patterns = [
    "[jobs.decoy]",
    "b",
]
note = """
[jobs.other]
every = "1h"
"""
every = "2h"
selection.track = "stat"
[jobs.other]
every = "3h"
[[list]]
inline = {deep = {er = 1}}
'''


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("top", 3),
        ("jobs", 4),
        ("jobs docs", 4),
        ("jobs docs root", 5),
        ("jobs docs patterns", 8),
        ("jobs docs note", 12),
        ("jobs docs every", 16),
        ("jobs docs selection", 17),
        ("jobs docs selection track", 17),
        ("jobs other", 18),
        ("jobs other every", 19),
        ("list", 20),
    ],
)
def test_a_key_stands_on_the_line_where_its_statement_begins(ending: str, mark: bytes, path: str, line: int) -> None:
    document = Document("my.toml", mark + LINED.replace("\n", ending).encode())
    assert f"my.toml:{line}: " == document.place(path.split())
    assert "my.toml: " == document.place(())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = 1\nb =\n", "my.toml:2: this is not TOML: Invalid value; correct it there"),
        (b"a = 1\n\nb = [1,\n2\n", "my.toml:4: this is not TOML: Unclosed array; correct it there"),
        (b"a = 1\nb = 2\na = 3\n", "my.toml:3: this is not TOML: the key 'a' has a value already; correct it there"),
        (b"[x]\na = 1\n\n# why\n  'a' = [\n3,\n]\n", "my.toml:5: this is not TOML: the key 'a' has a value already"),
        (b"a.b = '='\n'a'.\"b\" = 'a = 1'\nc = 1", "my.toml:2: this is not TOML: the key 'a.b' has a value already"),
        (b"'a=b' = 1\n'a=b' = 2", "my.toml:2: this is not TOML: the key '\"a=b\"' has a value already"),
        (b"a = 1\n[a]\nb = 1\n", "my.toml:2: this is not TOML: the key 'a' has a value already"),
        (b"a = 1\na.b = 2\n", "my.toml:2: this is not TOML: the key 'a.b' has a value already"),
        (b'[x."a b"]\n\n[x."a b"]\n', 'my.toml:3: this is not TOML: [x."a b"] stands there twice; correct it there'),
        (b"a = 1\nb = '\xff'\n", "my.toml:2: it is not UTF-8; save the file as UTF-8"),
        (b"a = 1\nb = " + b"9" * 5_000 + b"\n\n", "my.toml:2: this can't be read: Exceeds the limit (4300 digits)"),
        (b"a = 1\nb = " + b"[" * 100_000 + b"\n\n", "my.toml:2: this can't be read: maximum recursion depth"),
    ],
)
def test_what_is_not_toml_is_told_by_its_line(data: bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Document("my.toml", data)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_is_told_with_the_nearest_one_asked_for() -> None:
    document = Document("my.toml", b"known = 1\n[inner]\ntimout = 3\nxyz = 4")
    table = NumberedTable(document, ("inner",), document.entries["inner"])
    for key in ("timeout", "workers"):
        assert table.take(key) is None
    with pytest.raises(UsageError, match=r"^my\.toml:3: unknown key 'timout'; did you mean 'timeout'\?$"):
        table.finish()
    assert 3 == table.take("timout")
    with pytest.raises(UsageError, match=r"^my\.toml:4: unknown key 'xyz'; the keys are timeout, workers, timout$"):
        table.finish()
    assert 4 == table.need("xyz")
    table.finish()
    with pytest.raises(UsageError, match=r"^my\.toml:2: the key root is missing; add it$"):
        table.need("root")


instants = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
values = st.recursive(
    st.text(st.characters(codec="utf-8")) | st.booleans() | st.integers(-(2**63), 2**63 - 1) | instants,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
)


@given(values)
@example('\x7f\x00\x85\u202e\U000e0041"\\\t\r\n')
@example(["x" * 60, "y" * 60])
def test_what_is_written_is_read_again_and_drives_no_terminal(value: Any) -> None:
    written = write_value(value)
    assert {"key": value} == tomllib.loads(f"key = {written}")
    assert all(line.isprintable() for line in written.split("\n"))


@given(st.text(st.characters(codec="utf-8")))
def test_any_key_can_be_written(key: str) -> None:
    assert {key: {"x": 1}} == tomllib.loads(f"[{write_key(key)}]\nx = 1")


@given(st.binary())
@example(b"/srv/\xff")
def test_bytes_are_text_where_they_can_be_and_base64_where_they_can_not(name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")
    written = tomllib.loads(f"x = {write_value(text)}")["x"]
    assert name.decode("utf-8", "ignore").encode() == name or isinstance(written, dict)
    assert name == read_text(written).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("value", [1, None, [], {}, {"base64": 1}, {"base64": "?"}, {"base64": "", "x": 1}])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        read_text(value)


def test_a_comment_stays_one() -> None:
    assert "# a\\u000ab\\xff\\u202e" == write_comment("a\nb\udcff\u202e")


def test_what_toml_has_no_place_for_is_not_written() -> None:
    with pytest.raises(TypeError, match="has no place in TOML"):
        write_value(None)
