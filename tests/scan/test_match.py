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
    """Return the names that find and that runner match."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in names:
            (root / name).touch()
        test = "-iname" if ignore_case else "-name"
        oracle = [os.fsdecode(name) for name in find(root, "-type", "f", test, pattern)]
    matcher = Matcher(Selection(patterns=(pattern,), ignore_case=ignore_case))
    return sorted(oracle), sorted(map(os.fsdecode, matcher.pick(list(map(os.fsencode, names)))))


@settings(max_examples=100, deadline=None)
@given(atoms=st.lists(ATOMS, min_size=1, max_size=8), names=NAMES)
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


def fits(parts: tuple[str, ...], text: str) -> bool:
    """Match a path by trying everything: slow, but plainly right."""
    if not parts:
        return not text
    first, rest = parts[0], parts[1:]
    if first == "**":
        return any(fits(rest, text[i:]) for i in range(len(text) + 1))
    if first == "**/":
        return fits(rest, text) or any(fits(rest, text[i + 1 :]) for i, char in enumerate(text) if char == "/")
    if first == "*":
        return any(fits(rest, text[i:]) for i in range(len(text) + 1) if "/" not in text[:i])
    if not text or (text[0] == "/") != (first == "/"):
        return False
    return first in {"?", text[0]} and fits(rest, text[1:])


@st.composite
def path_parts(draw: st.DrawFn) -> tuple[str, ...]:
    """Draw the parts of a pattern for paths, without stars side by side, which would be read as one."""
    parts: list[str] = []
    for part in draw(st.lists(st.sampled_from(["a", "b", "?", "/", "*", "**", "**/"]), min_size=1, max_size=8)):
        beside = parts[-1] if parts else "/"
        if beside == "**" and part[0] in "*/":
            continue
        if part == "**/":
            parts += [part] if beside in {"/", "**/"} else ["/", part]
        elif not (part[0] == "*" and beside == "*"):
            parts.append(part)
    return tuple(parts)


@settings(max_examples=500, deadline=None)
@given(parts=path_parts(), texts=st.lists(st.text("ab/", max_size=9), min_size=1, max_size=10))
@example(parts=("**", "a", "*", "b"), texts=["a/ab", "aab", "ab/a/b"])
@example(parts=("**/", "a", "*", "/", "**/", "b"), texts=["a/b", "x/ab/c/b", "ab"])
@example(parts=("*", "a", "**", "a"), texts=["aa", "xaa"])  # the first star may not take what the second a needs
def test_path_patterns_mean_what_their_parts_say(parts: tuple[str, ...], texts: list[str]) -> None:
    expression = re.compile(translate("".join(parts), path=True), re.DOTALL)
    assert [fits(parts, text) for text in texts] == [expression.fullmatch(text) is not None for text in texts]


HOSTILE = [
    "*[0-9]*[0-9]*[0-9]*[0-9]*.md",
    "*?*?*?*?*.md",
    "*" * 30 + "x",
    "*a" * 60 + "b",
    "[!b]*" * 60 + "b",
    "?*" * 60,
]
MATCH_HOSTILE = """
import os, sys
from runner.model.jobs import Selection
from runner.scan.match import Matcher
pattern, path, ignore_case = sys.argv[1], sys.argv[2] == "path", sys.argv[3] == "True"
names = [os.fsencode(f"{char * 200}{i}") for i in range(10) for char in "a1"]
if path:
    exclude = Matcher(Selection(excludes=(pattern,), ignore_case=ignore_case)).excludes
    folder = b"/".join([b"a" * 100] * 8) + b"/"
    print(sum(exclude(name, folder, False) for name in names))
else:
    print(len(Matcher(Selection(patterns=(pattern,), ignore_case=ignore_case)).pick(names)))
"""


@pytest.mark.parametrize("ignore_case", [False, True])
@pytest.mark.parametrize(
    ("pattern", "path", "matching"),
    [
        *((pattern, False, 20 if pattern == "?*" * 60 else 0) for pattern in HOSTILE),
        ("**/" + "*a" * 60 + "b", True, 0),
        ("**/*a" * 30 + "b", True, 0),
        ("**a" * 60 + "b", True, 0),
        ("**/" * 40 + "b", True, 0),
        ("*?*/**/" * 20 + "b", True, 0),
    ],
)
def test_no_pattern_takes_exponential_time(pattern: str, *, path: bool, matching: int, ignore_case: bool) -> None:
    kind = "path" if path else "name"
    # The time is only there to end what would never end: it takes milliseconds.
    done = subprocess.run(
        [sys.executable, "-c", MATCH_HOSTILE, pattern, kind, str(ignore_case)],
        capture_output=True, check=True, text=True, timeout=30,
    )  # fmt: skip
    assert str(matching) == done.stdout.strip()
