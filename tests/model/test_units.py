import pytest

from runner.model.errors import UsageError
from runner.model.units import format_bytes, format_count, format_duration, format_seconds, is_duration, parse_duration


@pytest.mark.parametrize(
    ("expected", "shown"),
    [
        ("0 runs", format_count(0, "run")),
        ("1 run", format_count(1, "run")),
        ("12,345 entries", format_count(12_345, "entry", "entries")),
        ("1 entry", format_count(1, "entry", "entries")),
        ("0 B", format_bytes(0)),
        ("1023 B", format_bytes(1023)),
        ("2,048 B", format_bytes(2048, 2053)),
        ("2.0 KiB", format_bytes(2048, 2048)),
        ("2.0 KiB", format_bytes(2048, 4096)),
        ("1.0 KiB", format_bytes(1024)),
        ("30.0 MiB", format_bytes(30 << 20)),
        ("1.0 TiB", format_bytes(1 << 40)),
        ("5120.0 TiB", format_bytes(5 << 50)),
        ("0 s", format_seconds(0)),
        ("45.6 ms", format_seconds(0.0456)),
        ("1.23 s", format_seconds(1.234)),
        ("2m5s", format_seconds(125)),
    ],
)
def test_numbers_are_shown_with_their_units(expected: str, shown: str) -> None:
    assert expected == shown


@pytest.mark.parametrize(
    ("duration", "texts"),
    [
        ("1h", ["1h", "1 hour", "an hour", "a hour", "60 minutes", "60min", "3600 secs"]),
        ("1h30m", ["1h30m", "90m", "1h 30m", "1 hour 30 minutes", "1hour, 30mins"]),
        ("9d", ["1w2d", "1 week, 2 days", "9 days"]),
    ],
)
def test_durations_are_read_from_letters_and_words(duration: str, texts: list[str]) -> None:
    assert {duration} == {format_duration(parse_duration(text)) for text in texts}


@pytest.mark.parametrize(
    "text", ["", "h", "an", "ah", "hour", "1month", "m5", "1h1h", "30m1h", "1h,", "1hours30", "1H", "1.5h", "\u0661h"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert not is_duration(text)
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)
