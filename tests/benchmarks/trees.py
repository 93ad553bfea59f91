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
from runner.samples.recipe import Level, Recipe, count_folders
from runner.samples.writing import write_sample
from runner.scan.rescan import SETTLED_AFTER_NS
from tests.benchmarks.progress import reporting


def benchmark_folder() -> Path:
    """Return where trees are kept: named by RUNNER_BENCHMARKS, else a folder of the machine's temporary files."""
    named = os.environ.get("RUNNER_BENCHMARKS")
    # Absolute, as some scans go elsewhere.
    folder = Path(named).absolute() if named else Path(tempfile.gettempdir(), "runner-benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def recipe_tree(recipe: str) -> Path:
    """Return the tree of a recipe, written now unless it was before."""
    return kept_tree(recipe.replace("/", "-"), lambda folder: _write(load_recipe(recipe), folder))


def shaped_tree(name: str, *levels: Level) -> Path:
    """Return a tree that has the files of the recipe ``wide`` in other folders, as many in each as its level says."""
    folders = count_folders(levels)
    files = sum(count * level.files[0] for count, level in zip(folders, levels, strict=True))
    recipe = replace(load_recipe("wide"), name=name, levels=levels, folders=1 + sum(folders), files=files)
    return kept_tree(name, lambda folder: _write(recipe, folder))


def _write(recipe: Recipe, folder: Path) -> None:
    with reporting() as tell:
        write_sample(recipe, folder, lambda files: tell(f"writing {folder}: {files:,} of {recipe.files:,} files"))


def kept_tree(name: str, write: Callable[[Path], None]) -> Path:
    """Return a tree by its name, written now unless it was before; a half-written one is never kept."""
    folder = benchmark_folder() / name
    if not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        remove_tree(partial)
        write(partial)
        partial.rename(folder)
        # From now on an incremental scan can rely on every stamp in it.
        time.sleep(SETTLED_AFTER_NS / 1e9)
    return folder


def remove_tree(folder: Path) -> None:
    """Remove a tree of any depth, which ``shutil.rmtree`` can't before Python 3.13."""
    if folder.exists():
        subprocess.run([shutil.which("rm") or "rm", "-rf", "--", str(folder)], check=True)
