"""A listing of a large tree needs no more memory than one of an empty history, and a little."""

from contextlib import closing

from runner.history.database import locate
from runner.history.upgrade import open_database
from tests.benchmarks.histories import write_tree
from tests.benchmarks.listings import ask


def test_listings_need_memory_for_a_part_of_the_files(place: str) -> None:
    with closing(open_database(locate(place))) as database:
        write_tree(database, 150_000)
    _, _, least_bytes = ask("jobs", place)
    # A change takes about 400 bytes, so that all would be three times as much.
    for words in ("files job-0000 -0", "show 1 --format json"):
        assert ask(words, place)[2] < least_bytes + 30_000_000, words
