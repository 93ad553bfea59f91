"""What a recipe says: levels of folders, kinds of files, their contents, and the numbers drawn for them.

Only ``Random.random`` is drawn from: its sequence for a given seed is promised to stay the same in every Python,
while that of ``randint``, ``choice`` and ``shuffle`` is not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from random import Random

# What $word stands for. A change here changes the bytes of every sample.
WORDS = (  # noqa: SIM905 - one word per line would take a page
    "amber anchor autumn basin beacon birch bramble candle canyon cedar cellar cinder clover copper coral cotton "
    "current dune ember engine fable falcon feather fern garden glacier granite harbour hazel heron hollow island "
    "ivory jasper juniper kettle lantern ledger linen maple marble meadow mirror moss needle north oak orchard "
    "paper pebble pine quarry quill raven reed river saddle silver slate thistle timber velvet willow winter"
).split()
PLACEHOLDER = re.compile(r"\$(\w*)")
PLACEHOLDERS = ("number", "word")
# So many folders take minutes to write; a recipe that asks for more has a slip in it.
MOST_FOLDERS = 10_000_000
_NUMBERED = re.compile("#+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a file holds: fixed bytes, or text made of a first part, some lines and a last part.

    Attributes:
        fixed: The bytes; None for text.
        first: Text before the lines; ``$word`` and ``$number`` (0 to 999) are drawn anew wherever they stand.
        line: Text of each line, its newline included.
        last: Text after the lines.
        lines: How many lines, the least and the most.
    """

    fixed: bytes | None = b""
    first: str = ""
    line: str = ""
    last: str = ""
    lines: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of file.

    Attributes:
        name: Its name; the ``#`` in it become the file's number in its folder, from 1, padded to as many digits.
        share: How many files of each round are of this kind; a round is as long as all shares together.
        content: What a file of this kind holds.
    """

    name: str
    share: int
    content: Content


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """Folders that lie in each folder of the level above, or in those of this level itself where it is a chain.

    Attributes:
        name: Their name, numbered as that of a kind.
        folders: How many in each folder above.
        files: How many files in each of them, the least and the most.
        depth: How often the level is nested in itself, 1 for not at all.
    """

    name: str
    folders: int
    files: tuple[int, int]
    depth: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Stray:
    """A single file at the top of the tree.

    Attributes:
        name: Its name.
        content: What it holds.
    """

    name: str
    content: Content


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A sample tree, completely described.

    Attributes:
        name: The recipe's name, that of its file without ``.toml``.
        description: One line about it.
        seed: Where the drawn numbers start.
        modified_at: Modification time of every file and folder; aware.
        levels: From the top down, at least one.
        kinds: At least one.
        strays: Files at the top.
        folders: How many folders the tree has, the root included.
        files: How many files it has.
    """

    name: str
    description: str
    seed: int
    modified_at: datetime
    levels: tuple[Level, ...]
    kinds: tuple[Kind, ...]
    strays: tuple[Stray, ...]
    folders: int
    files: int


def numbered(name: str, number: int) -> bytes:
    """Put a number into a name, ``page-###.md`` and 7 becoming ``page-007.md``; UTF-8 wherever it runs."""
    return _NUMBERED.sub(lambda marks: f"{number:0{len(marks[0])}}", name).encode()


def is_numbered(name: str) -> bool:
    """Tell whether a name has exactly one place for a number."""
    return len(_NUMBERED.findall(name)) == 1


def draw(random: Random, bounds: tuple[int, int]) -> int:
    """Draw a whole number between two bounds, both included; equal bounds draw nothing."""
    least, most = bounds
    return least if least == most else least + int(random.random() * (most - least + 1))


def draw_counts(level: Level, seed: int) -> Iterator[int]:
    """Draw the number of files of one folder of the level after the other, without end.

    Each level has a sequence of its own, so that counting files needs no walk through the tree's order.
    """
    if level.files[0] == level.files[1]:
        return repeat(level.files[0])
    random = Random(seed)  # noqa: S311 - reproducible is the point
    return iter(lambda: draw(random, level.files), None)


def count_directories(levels: tuple[Level, ...]) -> tuple[int, ...]:
    """Count the folders of each level, all its depths together; the root is in none of them.

    Counting stops soon above MOST_FOLDERS: the powers of a deep and branching level would outgrow any memory.
    """
    counts = []
    above = 1
    for level in levels:
        count = 0
        for _ in range(level.depth):
            above *= level.folders
            count += above
            if above > MOST_FOLDERS:
                break
        counts.append(count)
    return tuple(counts)


def arrange(kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
    """Arrange one round of kinds, each as often as its share says and as evenly spread as can be.

    Files go through the rounds in the order they are written, so n rounds hold exactly n times each share.

    Source:
        Smooth weighted round robin, as nginx balances upstream servers since 1.3.1.
    """
    total = sum(kind.share for kind in kinds)
    credit = [0] * len(kinds)
    arranged = []
    for _ in range(total):
        credit = [have + kind.share for have, kind in zip(credit, kinds, strict=True)]
        richest = credit.index(max(credit))
        credit[richest] -= total
        arranged.append(kinds[richest])
    return tuple(arranged)


def fill(content: Content, random: Random) -> bytes:
    """Make the bytes of one file."""
    if content.fixed is not None:
        return content.fixed

    def drawn(placeholder: re.Match[str]) -> str:
        if placeholder[1] == "number":
            return str(int(random.random() * 1000))
        return WORDS[int(random.random() * len(WORDS))]

    text = content.first + content.line * draw(random, content.lines) + content.last
    return PLACEHOLDER.sub(drawn, text).encode()
