import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from trees import find

from runner.model.errors import UsageError
from runner.model.jobs import Selection
from runner.scan.globs import translate
from runner.scan.match import Matcher, _plain_suffixes

NAMES = st.lists(
    st.text("aAbB-]^!.[*?\\&|~ \n", min_size=1, max_size=5).filter(lambda name: name not in {".", ".."}),
    min_size=1, max_size=12, unique=True,
)  # fmt: skip
# ASCII alone: beyond it, this find tries a pattern on characters and, where that fails, once more on bytes.
ATOMS = st.sampled_from([
    "a", "B", "*", "?", ".", "[ab]", "[!a]", "[^a]", "[a-b]", "[b-a]", "[]a]", "[!]a]", "[a-]", "[-a]", "[a", "[", "]",
    "[]", "[!]", "\\a", "\\*", "\\?", "\\[", "\\\\", "[\\]]", "[*?]", "[A-b]", "[&&]", "[a||b]", "[^]", "^", "!", "-",
])  # fmt: skip


def matching(pattern: str, names: list[str], *, ignore_case: bool) -> tuple[list[str], list[str]]:
    """Names that find and that runner match."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in names:
            (root / name).touch()
        test = "-iname" if ignore_case else "-name"
        oracle = [os.fsdecode(name) for name in find(root, "-type", "f", test, pattern)]
    matcher = Matcher(Selection(patterns=(pattern,), ignore_case=ignore_case))
    return sorted(oracle), sorted(map(os.fsdecode, matcher.pick(list(map(os.fsencode, names)))))


@settings(max_examples=100, deadline=None)
@given(atoms=st.lists(ATOMS, min_size=1, max_size=5), names=NAMES)
@example(atoms=["[", "a", "*"], names=["[a", "[ab", "a"])
@example(atoms=["[!", "]"], names=["[!]", "x"])
def test_patterns_mean_what_they_mean_to_find(atoms: list[str], names: list[str]) -> None:
    pattern = "".join(atoms)
    assume(not re.search(r"\[[:.=]", pattern))
    oracle, ours = matching(pattern, names, ignore_case=False)
    assert oracle == ours


@settings(max_examples=40, deadline=None)
@given(
    atoms=st.lists(st.sampled_from(["a", "B", "*", "?", "[ab]", "[!A]", ".", "\\A"]), min_size=1, max_size=4),
    names=st.lists(
        st.text("aAbB.", min_size=1, max_size=4).filter(lambda name: name.strip(".")), min_size=1, unique=True
    ),
)
def test_regardless_of_case_patterns_mean_what_they_mean_to_find(atoms: list[str], names: list[str]) -> None:
    oracle, ours = matching("".join(atoms), names, ignore_case=True)
    assert oracle == ours


def test_a_plain_suffix_is_told_apart_from_a_pattern() -> None:
    assert [b".md", b".txt"] == _plain_suffixes(["*.md", "*.txt"])
    assert [b""] == _plain_suffixes(["*.md", "*.txt", "*"])
    assert [b".md", b"c.mdx"] == _plain_suffixes(["*.md", "*a.md", "*c.mdx"])
    for pattern in ("x.md", "*.m?", "*[.]md", "*\\.md", "**.md"):
        assert _plain_suffixes(["*.md", pattern]) is None


def test_several_patterns_find_what_any_of_them_finds() -> None:
    pick = Matcher(Selection(patterns=("a*", "?b", "c|d"))).pick
    assert [b"ax", b"xb", b"c|d"] == pick([b"ax", b"xb", b"c", b"d", b"c|d", b"x"])


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("", "is empty"),
        ("a/b", "holds a slash"),
        ("a\0", "holds a NUL"),
        ("a\\", "ends in a lone backslash"),
        ("[[:alpha:]]", "uses a character class"),
    ],
)
def test_a_pattern_that_can_not_match_is_refused_in_one_line(pattern: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Matcher(Selection(patterns=(pattern,)))
    assert "\n" not in str(caught.value)


def test_no_pattern_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no pattern"):
        Matcher(Selection(patterns=()))


@pytest.mark.parametrize("exclude", ["", "/", "a\0", "./"])
def test_an_exclude_that_names_nothing_is_refused(exclude: str) -> None:
    with pytest.raises(UsageError, match="names nothing"):
        Matcher(Selection(excludes=(exclude,)))


@pytest.mark.parametrize("pattern", ["a[!b]c", "a[/]c", "a[.-0]c", "a?c", "a*c"])
def test_in_a_path_only_two_stars_match_a_slash(pattern: str) -> None:
    assert re.fullmatch(translate(pattern, path=True), "a/c", re.DOTALL) is None
    assert re.fullmatch(translate("a**c", path=True), "a/c", re.DOTALL)


def test_excludes_follow_the_case_of_the_patterns() -> None:
    for ignore_case in (False, True):
        excludes = Matcher(Selection(excludes=("Skip", "a/B"), ignore_case=ignore_case)).excludes
        assert excludes is not None
        assert [ignore_case] * 2 == [excludes(b"skip", b"x/", True), excludes(b"b", b"A/", False)]  # noqa: FBT003


def test_a_name_that_is_not_text_is_matched_byte_for_byte() -> None:
    name = b"caf\xe9.md"
    for pattern in ("*.md", "caf?.md", os.fsdecode(name), os.fsdecode(b"*\xe9.md")):
        assert [name] == Matcher(Selection(patterns=(pattern,))).pick([name])
    assert [] == Matcher(Selection(patterns=("café.md",))).pick([name])


@given(
    names=st.lists(st.text("ab.m", min_size=1, max_size=4), unique=True),
    suffixes=st.lists(st.text("abm.", max_size=3), min_size=1),
)
def test_suffixes_pick_what_ends_in_one_of_them_each_once(names: list[str], suffixes: list[str]) -> None:
    picked = Matcher(Selection(patterns=tuple("*" + suffix for suffix in suffixes))).pick(
        [name.encode() for name in names]
    )
    assert sorted(name.encode() for name in names if name.endswith(tuple(suffixes))) == sorted(picked)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*[0-9]*[0-9]*[0-9]*[0-9]*[0-9]*[0-9]*.md", False),
        ("*?*?*?*?*?*?*?*?*.md", False),
        ("*" * 30 + "x", False),
        ("*a*a*a*a*a*a*a*a*a*a*a*b/c", True),
        ("**/" * 20 + "x", True),
    ],
)
def test_hostile_patterns_end(pattern: str, path: bool) -> None:  # noqa: FBT001  a parameter of the cases
    program = (
        "import re, sys; from runner.scan.globs import translate\n"
        "test = re.compile(translate(sys.argv[1], path=sys.argv[2] == 'True'), re.DOTALL).fullmatch\n"
        "print(sum(test(text * 60) is not None for text in ['1a', 'aa', 'a/'] for _ in range(40)))"
    )
    # Without atomic groups this takes far more than the limit, with them milliseconds.
    ended = subprocess.run(
        [sys.executable, "-c", program, pattern, str(path)], capture_output=True, text=True, timeout=20, check=True
    )
    assert "0" == ended.stdout.strip()


@given(
    pattern=st.lists(st.sampled_from(["a", "b", "*", "*", "?", "/", "**", "**/", "[!a]"]), max_size=8).map("".join),
    text=st.text("ab/", max_size=8),
)
@example(pattern="*a*b/**/*a*", text="aab/b/ba")
def test_paths_match_as_without_atomic_groups(pattern: str, text: str) -> None:
    expression = translate(pattern, path=True)
    plain = re.sub(r"\(\?>(\[\^/\]\*)\?((?:[^()]|\(\?!/\))*)\)", r"\1\2", expression)
    assert "(?>" not in plain
    assert bool(re.fullmatch(plain, text, re.DOTALL)) == bool(re.fullmatch(expression, text, re.DOTALL))
