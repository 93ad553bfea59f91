import ast
import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.model.errors import RunnerError, UsageError
from runner.samples.loading import load_recipe
from runner.samples.recipe import Recipe
from runner.samples.writing import write_sample

# Of all names, contents and times of the lesson. It changes when, and only when, the sample does: that breaks
# comparisons with trees written earlier, so it needs a reason and a line in the changelog.
LESSON_DIGEST = "3ad4e7de7e060da64559872939d8d619c3e5aaf6e45ecf3b348f2bc5a0597c81"

LIKE_WIDE = """
description = "the shape of wide, scaled down"
seed = 0
modified_at = 2026-01-01T00:00:00Z

[[levels]]
name = "area-##"
folders = 2
files = 0

[[levels]]
name = "group-##"
folders = 3
files = 0

[[levels]]
name = "leaf-##"
folders = 4
files = 100

[[kinds]]
name = "note-###.md"
share = 1

[[kinds]]
name = "text-###.txt"
share = 9
"""


def find(root: Path, *conditions: str) -> int:
    listing = subprocess.run(["find", root, *conditions, "-print0"], check=True, stdout=subprocess.PIPE).stdout
    return listing.count(b"\0")


def digest(root: Path) -> str:
    """Hash everything below a root that a recipe determines."""
    whole = hashlib.sha256()
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.fsencode(root) + b"/" + folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = folder + entry.name
                content = None
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path + b"/")
                else:
                    content = Path(os.fsdecode(entry.path)).read_bytes()
                whole.update(repr((path, content, entry.stat(follow_symlinks=False).st_mtime_ns)).encode())
    return whole.hexdigest()


def own_recipe(folder: Path, text: str = LIKE_WIDE) -> Recipe:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(str(path))


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lesson") / "directories"
    write_sample(load_recipe("lesson"), root)
    return root


def test_the_lesson_has_the_files_and_directories_it_counts(lesson: Path) -> None:
    recipe = load_recipe("lesson")
    assert find(lesson, "-type", "f") == recipe.files
    assert find(lesson, "-type", "d") == recipe.folders == 101
    assert find(lesson, "!", "-type", "d", "!", "-type", "f") == 0
    assert find(lesson, "-maxdepth", "1", "!", "-type", "d") == 1
    assert (lesson / ".DS_Store").read_bytes().startswith(b"\0\0\0\1Bud1")


def test_a_tenth_of_the_lessons_files_is_markdown(lesson: Path) -> None:
    sizes = set()
    for folder in lesson.iterdir():
        if folder.is_dir():
            kinds = [path.suffix for path in folder.iterdir()]
            sizes.add(len(kinds))
            assert 200 <= len(kinds) <= 400
            assert {".md", ".txt", ".csv", ".json", ".py", ".png"} < set(kinds)
            assert abs(kinds.count(".md") - len(kinds) / 10) <= 1
    assert len(sizes) > 30


def test_the_lesson_is_the_same_as_ever(lesson: Path) -> None:
    assert digest(lesson) == LESSON_DIGEST


def test_files_of_the_lesson_are_what_their_names_say(lesson: Path) -> None:
    folder = lesson / "directory_001"
    for script in folder.glob("*.py"):
        ast.parse(script.read_bytes())
    for record in folder.glob("*.json"):
        assert sorted(json.loads(record.read_bytes())) == ["name", "values"]
    for table in folder.glob("*.csv"):
        assert {line.count(",") for line in table.read_text(encoding="utf-8").splitlines()} == {2}
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    assert all(path.stat().st_size > 0 for path in folder.iterdir())


def test_two_writes_give_the_same_tree_and_another_seed_another(tmp_path: Path) -> None:
    recipe = own_recipe(tmp_path, LIKE_WIDE + "line = '$word $number'\nlines = [0, 9]")
    write_sample(recipe, tmp_path / "first")
    write_sample(recipe, tmp_path / "second")
    assert digest(tmp_path / "first") == digest(tmp_path / "second")
    text = LIKE_WIDE.replace("files = 100", "files = [10, 90]")
    counts = {own_recipe(tmp_path, text.replace("seed = 0", f"seed = {seed}")).files for seed in range(5)}
    assert len(counts) == 5


def test_a_wide_tree_has_the_files_and_times_of_its_recipe(tmp_path: Path) -> None:
    recipe = own_recipe(tmp_path, LIKE_WIDE.replace("00:00:00Z", "01:00:00.123456+01:00"))
    root = tmp_path / "tree"
    write_sample(recipe, root)
    assert {path.stat().st_mtime_ns for path in [root, *root.rglob("*")]} == {1_767_225_600_123_456_000}
    assert find(root, "-size", "0", "-type", "f") == recipe.files == 2400
    assert find(root, "-type", "d") == recipe.folders == 1 + 2 + 6 + 24
    leaves = list(root.glob("area-*/group-*/leaf-*"))
    assert len(leaves) == 24
    assert {len(list(leaf.glob("*.md"))) for leaf in leaves} == {10}
    assert {len(list(leaf.iterdir())) for leaf in leaves} == {100}


def test_the_deep_chain_is_written_with_a_handful_of_descriptors(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from runner.samples.loading import load_recipe; from runner.samples.writing import write_sample\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))\n"
        "write_sample(load_recipe('deep'), Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", program, deep], check=True)
    listed = ["find", str(deep), "-printf", "%y %d %T@ %f\\n"]
    output = subprocess.run(listed, check=True, stdout=subprocess.PIPE, text=True).stdout
    entries = [line.split() for line in output.splitlines()]
    files = [name for kind, _depth, _time, name in entries if kind == "f"]
    depths = sorted(int(depth) for kind, depth, _time, _name in entries if kind == "d")
    recipe = load_recipe("deep")
    assert depths == list(range(5001))
    assert (len(files), len(depths)) == (recipe.files, recipe.folders)
    assert sum(name.endswith(".md") for name in files) == len(files) // 3
    assert {time for _kind, _depth, time, _name in entries} == {"1767225600.0000000000"}
    subprocess.run(["rm", "-rf", deep], check=True)  # pytest would remove it by recursion, which ends at Python's limit


def test_a_level_may_branch_within_itself(tmp_path: Path) -> None:
    recipe = own_recipe(tmp_path, LIKE_WIDE.replace("folders = 3", "folders = 3\ndepth = 2").replace("= 100", "= 5"))
    root = tmp_path / "tree"
    write_sample(recipe, root)
    assert find(root, "-type", "d") == recipe.folders == 1 + 2 + (6 + 18) + 72
    assert find(root, "-type", "f") == recipe.files == 360


def test_progress_ends_at_the_count_of_the_recipe(tmp_path: Path) -> None:
    recipe = load_recipe("demo")
    seen: list[int] = []
    write_sample(recipe, tmp_path / "tree", seen.append)
    assert seen == [4096, recipe.files]


def test_missing_parents_are_created(tmp_path: Path) -> None:
    recipe = own_recipe(tmp_path, LIKE_WIDE.replace("= 100", "= 5"))
    write_sample(recipe, tmp_path / "a" / "b" / "c")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    write_sample(recipe, tmp_path / "link")
    assert digest(tmp_path / "empty") == digest(tmp_path / "a" / "b" / "c")


def refusal(recipe: Recipe, directory: Path) -> str:
    with pytest.raises(UsageError) as caught:
        write_sample(recipe, directory)
    message = str(caught.value)
    assert message.isprintable()
    assert repr(str(directory)) in message
    return message


def test_a_root_that_is_no_empty_directory_is_refused(tmp_path: Path) -> None:
    recipe = own_recipe(tmp_path)
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "full\n").mkdir()
    (tmp_path / "full\n" / ".hidden").touch()
    assert "is not empty; choose a new or an empty directory" in refusal(recipe, tmp_path / "full\n")
    assert [path.name for path in (tmp_path / "full\n").iterdir()] == [".hidden"]
    for place in ["own.toml", "own.toml/below", "own.toml/far/below", "dangling"]:
        assert "is not a directory" in refusal(recipe, tmp_path / place)
    assert "File name too long" in refusal(recipe, tmp_path / ("x" * 256))


@pytest.mark.parametrize("call", ["mkdir", "listdir"])
def test_a_directory_without_permission_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    # The kernel denies root nothing, and tests run as root in containers: the denial is played.
    def denied(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    root = tmp_path / "tree"
    root.mkdir()
    recipe = own_recipe(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", lambda *_args, **_kwargs: None)
        patch.setattr(os, call, denied)
        message = refusal(recipe, root)
    assert "Permission denied; choose" in message
    assert list(root.iterdir()) == []


def test_a_root_that_belongs_to_someone_else_keeps_its_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    owned = root.stat().st_ino
    utime = os.utime

    def only_by_its_owner(file: int, *, ns: tuple[int, int]) -> None:
        if os.fstat(file).st_ino == owned:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        utime(file, ns=ns)

    recipe = own_recipe(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", only_by_its_owner)
        write_sample(recipe, root)
    assert find(root, "-type", "f") == 2400


def test_a_failure_midway_says_what_was_left_behind(tmp_path: Path) -> None:
    text = LIKE_WIDE.replace("share = 9", "share = 9\nfirst = '0123456789'")
    own_recipe(tmp_path, text)
    # A limit on file size fails writes as a full disk does: first a part is taken, then nothing.
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from runner.samples.loading import load_recipe; from runner.samples.writing import write_sample\n"
        "from runner.model.errors import RunnerError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))\n"
        "try: write_sample(load_recipe(sys.argv[1]), Path(sys.argv[2]))\n"
        "except RunnerError as error: print(error.exit_code, error)"
    )
    root = tmp_path / "tree"
    command = [sys.executable, "-c", program, str(tmp_path / "own.toml"), str(root)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    expected = (
        f"cannot write the sample: File too large; 0 of 2400 files are left in {str(root)!r}, remove that directory"
    )
    assert said.startswith(f"1 {expected}")
    assert said.count("\n") == 1
    assert find(root, "-type", "f", "-size", "4c") == 1


def test_two_kinds_that_make_the_same_name_stop_the_writing(tmp_path: Path) -> None:
    recipe = own_recipe(tmp_path, LIKE_WIDE.replace("note-###.md", "f#1").replace("text-###.txt", "f#"))
    with pytest.raises(RunnerError, match=r"File exists \('f51'\); 50 of 2400 files are left"):
        write_sample(recipe, tmp_path / "tree")
