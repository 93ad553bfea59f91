import pytest

from runner.model.units import format_count


@pytest.mark.parametrize(
    ("number", "words", "shown"),
    [
        (0, ("run",), "0 runs"),
        (1, ("run",), "1 run"),
        (2, ("run",), "2 runs"),
        (12_345, ("entry", "entries"), "12,345 entries"),
        (1, ("entry", "entries"), "1 entry"),
    ],
)
def test_one_is_told_from_several(number: int, words: tuple[str, ...], shown: str) -> None:
    assert shown == format_count(number, *words)
