"""The fenced blocks of README and documentation."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        language: The word behind the fence: ``sh`` is run, ``text`` is output.
        title: The file that a reader saves the block as; empty for none.
        text: What the block contains.
    """

    language: str
    title: str
    text: str


def list_blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page in their order."""
    pattern = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
    for language, title, text in pattern.findall(page.read_text()):
        yield Block(language=language, title=title, text=text)
