"""What the pages are made of: the database, the options of the server, and rendered answers kept by revision."""

import gzip
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime

from runner.history import revision
from runner.history.backend import Backend
from runner.history.database import Database, View
from runner.history.sqlite import MissingFile, SqliteFile
from runner.history.upgrade import open_database

# Relative times in a page are at most this old; a page with JavaScript corrects them.
_KEPT_S = 20.0
_MOST_KEPT_BYTES = 64 * 2**20
# How long the queries of one page may take.
QUERY_LIMIT_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of the server.

    Attributes:
        allow_actions: Whether pages may start, cancel, pause and resume.
        hosts: Names by which the server may be addressed besides those of the loopback interface.
        token: What a browser has to present, empty for nothing.
        port: The port, which is in the name of the cookie.
        root_path: The path under which a proxy shows the pages, without a slash at the end; empty for none.
        notice: A sentence that every page shows; empty for none.
    """

    allow_actions: bool = False
    hosts: tuple[str, ...] = ()
    token: str = ""
    port: int = 0
    root_path: str = ""
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A rendered answer, ready to be sent."""

    content: bytes
    media_type: str
    status: int = 200
    zipped: bytes = field(init=False)
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        """Keep the content compressed, and its name, for all readers."""
        object.__setattr__(self, "zipped", gzip.compress(self.content, 9, mtime=0))
        object.__setattr__(self, "etag", f'"{hashlib.blake2b(self.content, digest_size=12).hexdigest()}"')

    @property
    def size_bytes(self) -> int:
        """The memory that it takes."""
        return len(self.content) + len(self.zipped)


class Site:
    """The state that all requests share."""

    def __init__(
        self, location: Backend, options: Options, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.options = options
        self.clock = clock
        self._location = location
        self._database, self._signature = self._open()
        self._opening = threading.Lock()
        self._sharing = threading.Lock()
        self._answers: OrderedDict[str, tuple[str, float, Answer]] = OrderedDict()
        self._kept_bytes = 0
        self._keeping = threading.Lock()
        self._rendering: dict[str, threading.Lock] = {}

    @property
    def database(self) -> Database:
        """The database, opened again if it was missing, or read from a copy, and has changed."""
        with self._opening:
            if self._database.location.signature() != self._signature:
                self._database.close()
                self._database, self._signature = self._open()
            return self._database

    def _open(self) -> tuple[Database, object]:
        location = self._location
        if isinstance(location, SqliteFile) and not location.exists():
            location = MissingFile(path=location.path)
        database = open_database(location)
        return database, database.location.signature()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @contextmanager
    def view(self) -> Iterator[View]:
        """Yield one state of the database, whose queries end after a limit."""
        database = self.database
        # A missing file and a copy have one connection for all threads.
        alone = self._sharing if database.has_one_connection else nullcontext()
        with alone, database.view(within_s=QUERY_LIMIT_S) as view:
            yield view

    def revision(self) -> str:
        """Return a text that changes with everything that pages show."""
        with self.view() as view:
            return revision.find_revision(view, self.clock())

    def answer(self, key: str, render: Callable[[], Answer]) -> Answer:
        """Return a kept answer of this revision, or render one; readers who ask at once share it.

        Args:
            key: What is asked: the path with its query.
            render: Renders the answer.
        """
        revised = self.revision()
        with self._keeping:
            alone = self._rendering.setdefault(key, threading.Lock())
        try:
            with alone:
                kept = self._answers.get(key)
                if kept is not None and kept[0] == revised and time.monotonic() - kept[1] < _KEPT_S:
                    return kept[2]
                answer = render()
                self._keep(key, revised, answer)
                return answer
        finally:
            with self._keeping:
                self._rendering.pop(key, None)

    def _keep(self, key: str, revised: str, answer: Answer) -> None:
        with self._keeping:
            _, _, old = self._answers.pop(key, ("", 0.0, None))
            self._answers[key] = (revised, time.monotonic(), answer)
            self._kept_bytes += answer.size_bytes - (old.size_bytes if old else 0)
            while self._kept_bytes > _MOST_KEPT_BYTES and len(self._answers) > 1:
                _, (_, _, dropped) = self._answers.popitem(last=False)
                self._kept_bytes -= dropped.size_bytes
