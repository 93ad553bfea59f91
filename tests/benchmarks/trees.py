"""Sample trees for benchmarks: written once, kept for the next time."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runner.samples.loading import load_recipe
from runner.samples.recipe import Level, Recipe, count_directories
from runner.samples.writing import write_sample
from runner.scan.rescan import SETTLED_AFTER_NS
from tests.benchmarks.progress import reporting


def recipe_tree(name: str) -> Path:
    """Return the tree of a recipe."""
    return _sample_tree(load_recipe(name))


def shaped_tree(name: str, *levels: Level) -> Path:
    """Return a tree that has the files of the recipe ``wide`` in other folders, as many in each as its level says."""
    folders = count_directories(levels)
    files = sum(count * level.files[0] for count, level in zip(folders, levels, strict=True))
    return _sample_tree(replace(load_recipe("wide"), name=name, levels=levels, folders=1 + sum(folders), files=files))


def _sample_tree(recipe: Recipe) -> Path:
    def write(root: Path) -> None:
        with reporting() as tell:
            write_sample(recipe, root, lambda files: tell(f"writing {root}: {files:,} of {recipe.files:,} files"))

    return kept_tree(recipe.name, write)


def kept_tree(name: str, write: Callable[[Path], None]) -> Path:
    """Return a tree by its name, written now unless it was before; a half-written one is never kept.

    Trees are kept in RUNNER_BENCHMARKS, by default among the machine's temporary files.
    """
    # Absolute, as some scans go elsewhere.
    kept = Path(os.environ.get("RUNNER_BENCHMARKS") or Path(tempfile.gettempdir(), "runner-benchmarks")).absolute()
    root = kept / name
    if not root.exists():
        partial = root.with_name(f"{name}.partial")
        # shutil.rmtree can't remove deep trees before Python 3.13.
        subprocess.run([shutil.which("rm") or "rm", "-rf", "--", partial], check=True)
        kept.mkdir(parents=True, exist_ok=True)
        write(partial)
        partial.rename(root)
        # From now on an incremental scan can rely on every stamp in it.
        time.sleep(SETTLED_AFTER_NS / 1e9)
    return root
