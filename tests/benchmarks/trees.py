"""Sample trees for benchmarks: written once, kept for the next time."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from runner.samples.loading import load_recipe
from runner.samples.writing import write_sample


def benchmark_folder() -> Path:
    """Tell where trees are kept: named by RUNNER_BENCHMARKS, else a folder of the machine's temporary files."""
    named = os.environ.get("RUNNER_BENCHMARKS")
    folder = Path(named) if named else Path(tempfile.gettempdir(), "runner-benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def recipe_tree(recipe: str) -> Path:
    """Give the tree of a recipe, written now unless it was before."""
    return kept_tree(recipe.replace("/", "-"), lambda folder: write_sample(load_recipe(recipe), folder))


def kept_tree(name: str, write: Callable[[Path], None]) -> Path:
    """Give a tree by its name, written now unless it was before; a half-written one is never kept."""
    folder = benchmark_folder() / name
    if not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        remove_tree(partial)
        write(partial)
        partial.rename(folder)
    return folder


def remove_tree(folder: Path) -> None:
    """Remove a tree of any depth, which ``shutil.rmtree`` can't before Python 3.13."""
    if folder.exists():
        subprocess.run([shutil.which("rm") or "rm", "-rf", "--", str(folder)], check=True)
