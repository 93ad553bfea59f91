"""The language of names, docstrings, messages and documentation: plain technical English, one term for one thing."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The first words of docstrings. Properties, fixtures, modules and classes are named by a noun phrase instead.
_VERBS = """
    Accept Acquire Add Advance Allow Append Apply Ask Assert Assign Attach Begin Benchmark Bind Build Cache Calibrate
    Call Cancel Catch Change Check Choose Claim Clear Close Collect Commit Compare Compile Compute Configure Connect
    Convert Copy Count Create Decode Define Delete Describe Detect Disable Discard Draw Drop Edit Enable Encode End
    Ensure Enter Escape Estimate Exchange Execute Exit Expect Explain Export Extract Fail Fetch Fill Filter Find
    Finish Fire Fit Flush Follow Format Freeze Generate Get Group Guess Handle Hash Ignore Import Initialize Inject
    Insert Inspect Install Interrupt Iterate Join Keep Kill Label Limit List Load Locate Lock Log Look Make Map Mark
    Mask Match Measure Merge Migrate Move Name Normalize Notify Observe Open Override Parse Pass Pause Perform Pick
    Plan Plot Poll Prepare Print Process Produce Prune Pull Push Put Query Quote Raise Rank Read Reap Rebuild Receive
    Reconnect Record Recover Reduce Refuse Register Reject Release Reload Remove Rename Render Repeat Replace Report
    Request Require Reset Resolve Restore Resume Retry Return Roll Rotate Run Sample Save Scale Scan Schedule Select
    Send Serve Set Shorten Show Shut Simulate Skip Sleep Sort Spawn Split Start Step Stop Store Submit Sum Suppress
    Switch Terminate Test Track Transform Translate Traverse Trim Truncate Undo Unlock Unpack Update Upgrade Use
    Validate Verify Visit Wait Walk Warn Watch Wrap Write Yield
"""
VERBS = frozenset(_VERBS.split())

BANNED = re.compile(
    r"\b(whoever|of theirs|as it does|what is to be|by then|comes to nothing|mak\w+ up for|made up for|owes|crews?"
    r"|errands?|sign of life|what passed|whose turn|be told|is told|of its own accord|at most so often|for want of"
    r"|anew|doubts?|telling)\b",
    re.IGNORECASE,
)
FILES = [*sorted(ROOT.glob("runner/**/*.py")), *sorted(ROOT.glob("tests/**/*.py"))]
TEXTS = [*FILES, *sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
NOUNS = {"property", "cached_property", "fixture"}


def decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Return the names of a function's decorators."""
    calls = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return {ast.unparse(each).rpartition(".")[2] for each in calls}


def first_words(path: Path) -> list[str]:
    """List the places in a file whose docstrings begin with a word that is not one of the verbs."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not decorators(node) & NOUNS:
            words = (ast.get_docstring(node) or "Return").split()
            if words[0].rstrip(".,:;") not in VERBS and not node.name.startswith("test_"):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {' '.join(words[:8])}")
    return found


@pytest.mark.parametrize("package", ["runner", "tests"])
def test_docstrings_begin_with_a_verb(package: str) -> None:
    assert [] == [place for path in FILES if path.is_relative_to(ROOT / package) for place in first_words(path)]


def test_texts_use_no_banned_words() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in TEXTS
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in BANNED.finditer(line)
    ]
    assert [] == found
