"""Recipes: levels of directories, kinds of files, their contents, and the numbers drawn for them.

Only ``Random.random`` is drawn from: its sequence for a given seed is promised to stay the same in every Python,
while that of ``randint``, ``choice`` and ``shuffle`` is not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from random import Random

# The values of $word. A change here changes the bytes of every sample.
WORDS = (  # noqa: SIM905 - one word per line would take a page
    "amber anchor autumn basin beacon birch bramble candle canyon cedar cellar cinder clover copper coral cotton "
    "current dune ember engine fable falcon feather fern garden glacier granite harbour hazel heron hollow island "
    "ivory jasper juniper kettle lantern ledger linen maple marble meadow mirror moss needle north oak orchard "
    "paper pebble pine quarry quill raven reed river saddle silver slate thistle timber velvet willow winter"
).split()
PLACEHOLDER = re.compile(r"\$(\w*)")
# This number takes minutes to write; a recipe with more contains a mistake.
MOST_FOLDERS = 10_000_000
NUMBERED = re.compile("#+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of file: its content is fixed, or text made of a first part, some lines and a last part.

    Attributes:
        name: Its name; its ``#`` become the file's number in its directory, from 1, padded to as many digits.
        share: Number of files of this kind in each round, which is as long as the sum of all shares; 0 for a stray.
        fixed: The bytes of each file; None for text.
        first: Text before the lines; each ``$word`` and ``$number`` (0 to 999) is drawn separately.
        line: Text of each line, its newline included.
        last: Text after the lines.
        lines: Minimum and maximum number of lines.
    """

    name: str
    share: int
    fixed: bytes | None = b""
    first: str = ""
    line: str = ""
    last: str = ""
    lines: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """Directories in each directory of the level above, or in those of the same level if it is a chain.

    Attributes:
        name: Their name, numbered like that of a kind.
        folders: Their number in each directory above.
        files: Minimum and maximum number of files in each of them.
        depth: How often the level is nested in itself; 1 for not nested.
    """

    name: str
    folders: int
    files: tuple[int, int]
    depth: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The complete description of a sample tree.

    Attributes:
        name: The name of its file without ``.toml``.
        description: One line about it.
        seed: Of the drawn numbers.
        modified_at: Modification time of every file and directory; aware.
        levels: From the top down, at least one.
        kinds: At least one.
        strays: Files at the top.
        folders: Number of directories, the root included.
        files: Number of files.
    """

    name: str
    description: str
    seed: int
    modified_at: datetime
    levels: tuple[Level, ...]
    kinds: tuple[Kind, ...]
    strays: tuple[Kind, ...]
    folders: int
    files: int


def numbered(name: str, number: int) -> bytes:
    """Format a name with a number, for example 7 into ``page-###.md`` for ``page-007.md``; UTF-8 in every locale."""
    return NUMBERED.sub(lambda marks: f"{number:0{len(marks[0])}}", name).encode()


def draw(random: Random, bounds: tuple[int, int]) -> int:
    """Draw a whole number between two bounds, both included; equal bounds draw nothing."""
    least, most = bounds
    return least if least == most else least + int(random.random() * (most - least + 1))


def draw_counts(level: Level, seed: int) -> Iterator[int]:
    """Yield the number of files of each directory of the level in turn, without end.

    Each level has a sequence of its own, so that counting files needs no walk through the tree's order.
    """
    if level.files[0] == level.files[1]:
        return repeat(level.files[0])
    random = Random(seed)  # noqa: S311 - reproducible is the point
    return iter(lambda: draw(random, level.files), None)


def count_directories(levels: tuple[Level, ...]) -> tuple[int, ...]:
    """Count the directories of each level, all its depths together; the root belongs to none.

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
    """Return one round of kinds, each as often as its share and as evenly spread as possible.

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


def fill(kind: Kind, random: Random) -> bytes:
    """Generate the bytes of one file."""
    if kind.fixed is not None:
        return kind.fixed

    def drawn(placeholder: re.Match[str]) -> str:
        if placeholder[1] == "number":
            return str(int(random.random() * 1000))
        return WORDS[int(random.random() * len(WORDS))]

    text = kind.first + kind.line * draw(random, kind.lines) + kind.last
    return PLACEHOLDER.sub(drawn, text).encode()
