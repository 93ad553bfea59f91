import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.model.errors import UsageError
from runner.model.toml import Table, parse_toml, read_text, write_comment, write_key, write_value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = 1\nb =\n", "my.toml: this is not TOML: Invalid value (at line 2, column 4); correct it there"),
        (b"a = 1\nb = 2\na = 3\n", "my.toml: this is not TOML: Cannot overwrite a value (at line 3, column 6)"),
        (b"a = 1\nb = '\xff'\n", "my.toml: line 2 is not UTF-8; save the file as UTF-8"),
        (b"a = 1\nb = " + b"9" * 5_000, "my.toml: this is not TOML: Exceeds the limit (4300 digits)"),
        (b"a = 1\nb = " + b"[" * 100_000, "my.toml: this is not TOML: maximum recursion depth"),
    ],
)
def test_invalid_toml_is_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_toml("my.toml", data)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_and_carriage_returns_are_accepted() -> None:
    assert {"a": {"b": 1}} == parse_toml("my.toml", b"\xef\xbb\xbf[a]\r\nb = 1\r\n")


def test_an_unknown_key_is_refused_with_the_nearest_known() -> None:
    table = Table("my.toml: ", {"timout": 3, "xyz": 4}, ("jobs", "a b"))
    for key in ("timeout", "workers"):
        assert table.take(key) is None
    with pytest.raises(UsageError, match=r"^my\.toml: jobs\.\"a b\": unknown key 'timout'; did you mean 'timeout'\?$"):
        table.finish()
    assert 3 == table.take("timout")
    with pytest.raises(UsageError, match=r"unknown key 'xyz'; the keys are timeout, workers, timout$"):
        table.finish()
    assert 4 == table.need("xyz")
    table.finish()
    with pytest.raises(UsageError, match=r"^my\.toml: jobs\.\"a b\": the key root is missing; add it$"):
        table.need("root")


instants = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
values = st.recursive(
    st.text(st.characters(codec="utf-8")) | st.booleans() | st.integers(-(2**63), 2**63 - 1) | instants,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
)


@given(values)
@example('\x7f\x00\x85\u202e\U000e0041"\\\t\r\n')
@example(["x" * 60, "y" * 60])
def test_written_values_are_read_again_and_printable(value: Any) -> None:
    written = write_value(value)
    assert {"key": value} == tomllib.loads(f"key = {written}")
    assert all(line.isprintable() for line in written.split("\n"))


@given(st.text(st.characters(codec="utf-8")))
def test_any_key_can_be_written(key: str) -> None:
    assert {key: {"x": 1}} == tomllib.loads(f"[{write_key(key)}]\nx = 1")


@given(st.binary())
@example(b"/srv/\xff")
def test_bytes_that_are_not_utf8_become_base64(name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")
    written = tomllib.loads(f"x = {write_value(text)}")["x"]
    assert name.decode("utf-8", "ignore").encode() == name or isinstance(written, dict)
    assert name == read_text(written).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("value", [1, None, [], {}, {"base64": 1}, {"base64": "?"}, {"base64": "", "x": 1}])
def test_other_values_than_texts_are_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        read_text(value)


def test_a_comment_stays_one() -> None:
    assert "# a\\u000ab\\xff\\u202e" == write_comment("a\nb\udcff\u202e")


def test_values_without_a_toml_type_are_refused() -> None:
    with pytest.raises(TypeError, match="has no place in TOML"):
        write_value(None)
