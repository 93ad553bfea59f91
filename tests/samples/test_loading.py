from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.model.bundled import bundled
from runner.model.errors import UsageError
from runner.samples.loading import list_recipes, load_recipe

SOUND = """
description = "two folders"
seed = 1
modified_at = 2026-01-01T00:00:00Z

[[levels]]
name = "d#"
folders = 2
files = 3

[[kinds]]
name = "f#.md"
share = 1
line = "$word\\n"
lines = [1, 2]

[[strays]]
name = "stray"
hex = "00ff"
"""


def complaint(folder: Path, text: str | bytes) -> str:
    path = folder / "my.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path))
    message = str(caught.value)
    assert message.isprintable()
    assert f"recipe {str(path)!r}" in message
    return message


def test_the_bundled_recipes_load_and_are_explained() -> None:
    assert list_recipes() == ["deep", "demo", "lesson", "wide"]
    for name in list_recipes():
        recipe = load_recipe(name)
        assert (recipe.name, recipe.modified_at) == (name, datetime(2026, 1, 1, tzinfo=UTC))
        assert (bundled("data") / f"{name}.toml").read_text(encoding="utf-8").startswith("# ")


def test_the_wide_recipe_counts_a_million_files() -> None:
    recipe = load_recipe("wide")
    assert (recipe.folders, recipe.files) == (1 + 10 + 200 + 10_000, 1_000_000)
    assert recipe.levels[-1].files == (100, 100)
    shares = {kind.name: kind.share for kind in recipe.kinds}
    assert (shares["note-###.md"], sum(shares.values())) == (1, 10)
    assert [name for name in shares if name.endswith(".md")] == ["note-###.md"]


def test_demo_differs_from_the_lesson_in_numbers_only() -> None:
    demo, lesson = load_recipe("demo"), load_recipe("lesson")
    assert (demo.kinds, demo.strays) == (lesson.kinds, lesson.strays)
    assert demo.folders == 41
    assert 40 * 100 < demo.files < 40 * 200


def test_a_recipe_of_ones_own_is_given_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("my.toml", "plain", "./lesson"):
        Path(path).write_text(SOUND, encoding="utf-8")
        recipe = load_recipe(path)
        assert (recipe.name, recipe.folders, recipe.files) == (Path(path).stem, 3, 7)
    assert load_recipe("lesson").folders == 101


def test_an_unknown_or_unreadable_recipe_is_refused(tmp_path: Path) -> None:
    for name, said in [
        ("lessn", r"no recipe 'lessn'; choose deep, demo, lesson, wide or give the path"),
        (f"{tmp_path}/gone.toml", r"gone\.toml': No such file or directory"),
        (str(tmp_path), "Is a directory"),
    ]:
        with pytest.raises(UsageError, match=said):
            load_recipe(name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("seed = ", "Invalid value"),
        (b'description = "\xff"', "utf-8"),
        ("seed = " + "9" * 5000, "4300 digits"),
        ("seed = " + "[" * 100_000, "recursion"),
        ("seed = 1\nseed = 2", "overwrite"),
    ],
    ids=["unfinished", "not UTF-8", "endless number", "endless nesting", "key twice"],
)
def test_what_is_not_toml_is_refused_in_one_line(tmp_path: Path, text: str | bytes, reason: str) -> None:
    message = complaint(tmp_path, text)
    assert "is not TOML" in message
    assert reason in message


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('description = "two folders"', "", ": the key description is missing"),
        ("seed = 1", "", ": the key seed is missing"),
        ("modified_at = 2026-01-01T00:00:00Z", "", ": the key modified_at is missing"),
        ("folders = 2", "", "[[levels]] number 1: the key folders is missing"),
        ("files = 3", "", "[[levels]] number 1: the key files is missing"),
        ("share = 1", "", "[[kinds]] number 1: the key share is missing"),
        ('name = "d#"', "", "[[levels]] number 1: the key name is missing"),
        ('name = "f#.md"', "", "[[kinds]] number 1: the key name is missing"),
        ('name = "stray"', "", "[[strays]] number 1: the key name is missing"),
        ("seed = 1", "seed = 1\nsede = 2", "': unknown key 'sede'"),
        ("seed = 1", 'seed = 1\n"a\\nb" = 2', r"': unknown key 'a\nb'"),
        ("folders = 2", "folders = 2\nfolder = 2", "[[levels]] number 1: unknown key 'folder'"),
        ("share = 1", "share = 1\nsize = 3", "[[kinds]] number 1: unknown key 'size'"),
        ('hex = "00ff"', 'hex = "00ff"\nline = "x"', "[[strays]] number 1: unknown key 'line'"),
        ('hex = "00ff"', "share = 1", "[[strays]] number 1: unknown key 'share'"),
        ("seed = 1", "seed = true", ": seed must be a whole number from 0"),
        ("seed = 1", "seed = 1.0", "not 1.0"),
        ("seed = 1", "seed = -1", "not -1"),
        ("seed = 1", "seed = 0x1" + "0" * 5000, "not a huge number"),
        ('"two folders"', "2", ": description must be one line"),
        ('"two folders"', '"two\\nfolders"', ": description must be one line"),
        ('"two folders"', '""', ": description must be one line"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00", ": modified_at must be an instant"),
        ("2026-01-01T00:00:00Z", "2026-01-01", ": modified_at must be an instant"),
        ("2026-01-01T00:00:00Z", "1969-12-31T23:59:59Z", ": modified_at must be an instant"),
        ("2026-01-01T00:00:00Z", "2038-01-01T00:00:00Z", ": modified_at must be an instant"),
        ("folders = 2", "folders = 0", "[[levels]] number 1: folders must be a whole number from 1"),
        ("folders = 2", "folders = 2\ndepth = 0", "[[levels]] number 1: depth must be"),
        ("folders = 2", "folders = 2\ndepth = 10000000", ": levels make more than 10000000 directories"),
        ("files = 3", "files = [3]", "[[levels]] number 1: files must be"),
        ("files = 3", "files = [3, 2]", "not [3, 2]"),
        ("files = 3", "files = [-1, 2]", "not [-1, 2]"),
        ("files = 3", "files = [0, true]", "not [0, true]"),
        ("files = 3", 'files = "3"', "not '3'"),
        ('"d#"', '"d"', "one place for a number"),
        ('"d#"', '"d#-#"', "one place for a number"),
        ('"d#"', '"a/d#"', "[[levels]] number 1: name must be a file name"),
        ('"f#.md"', '"f#\\u0000"', "[[kinds]] number 1: name must be a file name"),
        ('"f#.md"', f'"{"ü" * 120}#"', "at most 240 bytes"),
        ('"stray"', '".."', "[[strays]] number 1: name must be a file name"),
        ('"stray"', '""', "[[strays]] number 1: name must be a file name"),
        ("share = 1", "share = 0", "[[kinds]] number 1: share must be"),
        ('"$word\\n"', '"$wrod"', "begins $word or $number, not '$wrod'"),
        ('"$word\\n"', "7", "[[kinds]] number 1: line must be text"),
        ("lines = [1, 2]", "lines = [1, 1000000]", "[[kinds]] number 1: lines must be"),
        ('"00ff"', '"0"', "[[strays]] number 1: hex must be"),
        ('"00ff"', "0", "[[strays]] number 1: hex must be"),
        ("[[strays]]", "[strays]", ": strays must be written as [[strays]]"),
        ("[[strays]]", "[[strays.inner]]", ": strays must be written as [[strays]]"),
    ],
)
def test_a_wrong_table_is_refused_with_key_and_cure(tmp_path: Path, old: str, new: str, where: str) -> None:
    assert old in SOUND
    assert where in complaint(tmp_path, SOUND.replace(old, new))


@pytest.mark.parametrize("table", ["levels", "kinds"])
def test_levels_and_kinds_cannot_be_empty(tmp_path: Path, table: str) -> None:
    start = SOUND.index(f"[[{table}]]")
    rest = SOUND[:start] + SOUND[SOUND.index("[[", start + 2) :]
    assert f": the key {table} is missing" in complaint(tmp_path, rest)
    assert f": {table} must be written as [[{table}]]" in complaint(tmp_path, f"{table} = []\n{rest}")


def test_bundled_directories_are_found_in_checkout_and_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "runner"
    package.mkdir()
    monkeypatch.setattr("runner.model.bundled._PACKAGE", package)
    assert bundled("data") == tmp_path / "data"
    (package / "data").mkdir()
    assert bundled("data") == package / "data"
