"""What the commands find around them: a folder of files; and what differs in their answers from time to time."""

import csv
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from difflib import unified_diff
from itertools import islice, zip_longest
from pathlib import Path

import pytest

WRONG_FILES = (
    "jobs = [",
    "[jobs.new]\ncolour = 1\nroot = 'tree'\n",
    "colour = 1\n",
    "[jobs.new]\nevery = '1h'\n",
    "[jobs.new]\nroot = 'tree'\nevery = 5\n",
    "[jobs.new]\nroot = 'tree'\nevery = '1h'\ncron = '@daily'\n",
    "[jobs.new]\nroot = 'tree'\ncron = '61 * * * *'\n",
    "[jobs.new]\nroot = 'tree'\nevery = '1h'\ntimezone = 'Mars/Olympus'\n",
    "[jobs.new]\nroot = 'tree'\npatterns = '*.md'\n",
    "[jobs.new]\nroot = 'tree'\nnotify = [{on = 'whatever', run = ['true']}]\n",
    "[jobs.'a/b']\nroot = 'tree'\n",
    "[jobs.new]\nroot = {base64 = '!'}\n",
)
WRONG_SETTINGS = (
    "db = [",
    "colour = 1\n",
    "db = 5\n",
    "db = ''\n",
    "start_method = 'jump'\n",
    "runs_at_once = 0\n",
    "runs_at_once = 'many'\n",
    "retain_for = 'long'\n",
    "retain_runs = -1\n",
    "retain_failures = 'yes'\n",
    "log_format = 'xml'\n",
)
GOOD = """
[jobs.new]
root = "tree"
cron = "30 2 * * mon-fri"
timezone = "Europe/Berlin"
patterns = ["*.md", "*.txt"]
excludes = [".git"]
timeout = "1h30m"
strategies = ["sequential"]

[jobs.docs]
root = "tree"
every = "2h"
timezone = "UTC"
notify = [{on = "failure", run = ["true", "<b>"]}]

[jobs."<b>[red]"]
root = "tree"
patterns = ["*.md", {base64 = "/yo="}]
paused = true
every = "1h"
anchor = 2026-03-28T00:00:00Z
timezone = "UTC"
"""


def furnish(folder: Path, sample: Path) -> None:
    """Create the files that the command lines name."""
    for path, text in {"a.md": "one\n", "sub/b.md": "two two\n", "sub/c.txt": "", "caf\udce9.md": "x"}.items():
        whole = folder / "tree" / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(text)
        os.utime(whole, ns=(1_750_000_000_000_000_000, 1_750_000_000_000_000_000))
    (folder / "file").write_text("text, not SQLite, and longer than its header of a hundred bytes\n" * 3)
    (folder / "good.toml").write_text(GOOD)
    (folder / "only.toml").write_text("[jobs.docs]\nroot = 'tree'\nevery = '2h'\ntimezone = 'UTC'\n")
    (folder / "wrong.toml").write_text("[jobs.new]\nroot = 'tree'\n[jobs.docs]\nroot = 'missing'\n")
    for name, texts in (("wrong", WRONG_FILES), ("settings", WRONG_SETTINGS)):
        for number, text in enumerate(texts, start=1):
            (folder / f"{name}-{number}.toml").write_text(text)
    shutil.copy(sample, folder / "newer.db")
    for name, statement in {
        "newer.db": "UPDATE alembic_version SET version_num = '9999'",
        "foreign.db": "CREATE TABLE theirs (id)",
    }.items():
        with closing(sqlite3.connect(folder / name)) as database, database:
            database.execute(statement)


# Of what these keys and columns hold, in the answers of commands that really measure.
MEASURED = (
    r"\w*_s|max_rss_bytes|cache|host|system|machine|python|cpus|(?:\w+_)?workers|(?:\w+_)?start_method|filesystem"
    r"|runner_version|\w+_(?:max_rss_bytes|cache|position|host|system|machine|python|cpus|filesystem|runner_version)"
)
# What differs between machines, versions and kinds of database.
VARYING = (
    (re.compile(r"postgresql://runner@/fresh\d+[^\s'\",]*"), "<database>"),
    (re.compile(r"^(runner) \d+\.\d+\S*$", re.MULTILINE), r"\1 <version>"),
    (re.compile(r"(; the database) (?:shrank|stays|takes) .*"), r"\1 <size>"),
    (re.compile(r"(workers are not possible; choose from 1 to )\d+"), r"\1<most>"),
    (re.compile(r"(no service is installed at [^;]*; ).*"), r"\1<what else the machine has>"),
    (re.compile(r"(this is not TOML: ).*?;"), r"\1<reason>;"),  # Python's own words
    (re.compile(r"^! note: (?:systemd|launchd) does not run here.*\n", re.MULTILINE), ""),
)


def normalise(text: str, folder: Path) -> str:
    """Replace what must differ by its name, in brackets."""
    for path, name in (
        (str(folder / "runner.db"), "<database>"),
        (str(folder), "<folder>"),
        (sys.executable, "<python>"),
    ):
        text = text.replace(path, name)
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    # Statistics are the same to ten digits, whatever the order in which they are summed.
    return re.sub(r"\d+\.\d{11,}(?:e-\d+)?", lambda match: f"{float(match[0]):.10g}", text)


def hide_measured(text: str) -> str:
    """Replace what was measured in the answer of a command, as JSON or CSV."""
    text = re.sub(rf'"({MEASURED})": (?!null)("[^"]*"|[^,\s}}]+)', r'"\1": <measured>', text)
    header, *rows = text.split("\n")
    if not re.fullmatch(r"\w+(,\w+)+", header):
        return text
    hidden = [re.fullmatch(MEASURED, name) for name in header.split(",")]
    lines = [header]
    for row in rows:
        cells = next(csv.reader([row]), [])
        shown = ["<measured>" if hide and cell else cell for hide, cell in zip(hidden, cells, strict=False)]
        lines.append(",".join(shown) if len(shown) > 1 else row)
    return "\n".join(lines)


_CELL = re.compile(r"(?<=,) ?|\n")


def differences(golden: str, text: str) -> Iterator[str]:
    """Yield the lines that differ, by command and cell by cell: most lines are long."""
    for old, new in zip_longest(golden.split("\n$ "), text.split("\n$ "), fillvalue=""):
        if old != new:
            yield f"$ {(old or new).partition(chr(10))[0].removeprefix('$ ')}"
            yield from islice(unified_diff(_CELL.split(old), _CELL.split(new), n=1, lineterm=""), 2, None)


def compare_golden(path: Path, text: str) -> None:
    """Fail where a text is not that of its golden file; or write that again, if it is to be updated."""
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    elif text != (golden := path.read_text("utf-8")):
        pytest.fail("\n".join(islice(differences(golden, text), 60)), pytrace=False)
