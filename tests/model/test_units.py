import pytest

from runner.model.units import format_bytes, format_count, format_seconds


@pytest.mark.parametrize(
    ("expected", "shown"),
    [
        ("0 runs", format_count(0, "run")),
        ("1 run", format_count(1, "run")),
        ("12,345 entries", format_count(12_345, "entry", "entries")),
        ("1 entry", format_count(1, "entry", "entries")),
        ("0 B", format_bytes(0)),
        ("1023 B", format_bytes(1023)),
        ("1.0 KiB", format_bytes(1024)),
        ("30.0 MiB", format_bytes(30 << 20)),
        ("1.0 TiB", format_bytes(1 << 40)),
        ("5120.0 TiB", format_bytes(5 << 50)),
        ("0 µs", format_seconds(0)),
        ("45.6 ms", format_seconds(0.0456)),
        ("1.23 s", format_seconds(1.234)),
        ("2m5s", format_seconds(125)),
    ],
)
def test_numbers_are_shown_with_their_units(expected: str, shown: str) -> None:
    assert expected == shown
