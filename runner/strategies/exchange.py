"""Exchange of directories between pool workers, and of findings with their parent process."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import BaseContext

# Precedes each message: its length in bytes.
_LENGTH = struct.Struct("=Q")
# Size of the pipe: the maximum that Linux grants to any user.
_PIPE_BYTES = 1 << 20
# Bytes read at a time: a larger buffer comes from the kernel each time, page by page.
_READ_BYTES = 1 << 16


class Exchange:
    """Receiver-initiated load sharing: an idle worker requests directories from a busy one.

    Args:
        workers: Number of workers; each counts as busy until its first request.
        context: Their start method.

    Raises:
        OSError: If they can't share a semaphore.

    Source:
        Eager, Lazowska and Zahorjan, "A comparison of receiver-initiated and sender-initiated adaptive load sharing",
        Performance Evaluation 6 (1986).
    """

    def __init__(self, workers: int, context: BaseContext) -> None:
        self._workers = workers
        self._root = context.Semaphore(1)
        # Number of unanswered requests.
        self._requests = context.Semaphore(0)
        # Number of further workers that may wait while another one is busy; a share in transit counts as a busy worker.
        self._may_wait = context.Semaphore(workers - 1)
        self._shares = context.SimpleQueue()

    def take_root(self) -> bool:
        """Return whether this worker has to read the root."""
        return self._root.acquire(block=False)

    def accept_request(self) -> bool:
        """Return whether a worker waits; if so, the caller must :meth:`send` it a share."""
        return self._requests.acquire(block=False)

    def send(self, share: list[bytes]) -> None:
        """Send a share to a waiting worker."""
        self._may_wait.release()
        self._shares.put(share)

    def request(self) -> list[bytes]:
        """Wait for a share; empty when no worker has anything left."""
        if self._may_wait.acquire(block=False):
            self._requests.release()
            share: list[bytes] = self._shares.get()
            return share
        for _ in range(self._workers - 1):  # all others wait
            self._shares.put([])
        return []


class Channel:
    """A pipe for messages from the workers to their parent while they work.

    The results of a pool come only at the end, through pickle and a thread: for 250,000 found names that took a tenth
    of the scan. The parent never waits for the rest of a message, since its sender may be dead.

    Args:
        context: The start method of the workers.

    Attributes:
        reader: Ready when there is something to receive.

    Raises:
        OSError: If it can't be created.
    """

    def __init__(self, context: BaseContext) -> None:
        self.reader, self._writer = context.Pipe(duplex=False)
        os.set_blocking(self.reader.fileno(), False)
        self._lock = context.Lock()
        self._received = bytearray()
        # A message larger than the pipe stops its writer until the reader has woken, once for each piece.
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # a user with too many pipes gets no larger ones
                fcntl.fcntl(self._writer.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def send(self, message: bytes) -> None:
        """Send a message, in a worker."""
        with self._lock:
            for part in (_LENGTH.pack(len(message)), message):
                left = memoryview(part)
                while left:
                    left = left[os.write(self._writer.fileno(), left) :]

    def receive(self) -> Iterator[bytes]:
        """Yield the complete messages, in the parent and without waiting; each before the next is read."""
        with suppress(BlockingIOError):
            while chunk := os.read(self.reader.fileno(), _READ_BYTES):
                self._received += chunk
                while len(self._received) >= _LENGTH.size:
                    end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
                    if end > len(self._received):
                        break
                    message = bytes(self._received[_LENGTH.size : end])
                    del self._received[:end]
                    yield message
