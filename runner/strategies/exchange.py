"""How the workers of a pool give work to one another, and tell their parent what they have found."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

# In front of each message, its bytes.
_LENGTH = struct.Struct("=Q")
# Room for what is sent: as much as Linux gives to anyone.
_PIPE_BYTES = 1 << 20
# How much is read at a time: more than this much memory comes from the kernel anew, each time and page by page.
_READ_BYTES = 1 << 16


class Exchange:
    """Where a worker that has nothing left to do gets folders from another: receiver-initiated load sharing.

    See Eager, Lazowska and Zahorjan, "A comparison of receiver-initiated and sender-initiated adaptive load sharing",
    Performance Evaluation 6 (1986).

    Args:
        workers: How many there are; each counts as one that has something to do until it comes.
        context: How they are started.
        from_root: Whether the root is still to be read.

    Raises:
        OSError: If they can't share a semaphore.
    """

    def __init__(self, workers: int, context: BaseContext, *, from_root: bool) -> None:
        self._workers = workers
        self._root = context.Semaphore(int(from_root))
        # One for each worker that waits and to which nobody has yet answered.
        self._wanted = context.Semaphore(0)
        # How many more may come to wait while another has something to do; a share on its way counts as one that has.
        self._others = context.Semaphore(workers - 1)
        self._shares = context.SimpleQueue()

    def take_root(self) -> bool:
        """Take the root, if it is still to be read and nobody has it."""
        return self._root.acquire(block=False)

    def is_wanted(self) -> bool:
        """Tell whether a worker waits; whoever is told so has to :meth:`give` it something."""
        return self._wanted.acquire(block=False)

    def give(self, share: bytes) -> None:
        """Give something to a worker that waits."""
        self._others.release()
        self._shares.put(share)

    def ask(self) -> bool:
        """Come to wait for a share; False, and nothing is changed, if all others wait by now."""
        if not self._others.acquire(block=False):
            return False
        self._wanted.release()
        return True

    def get(self) -> bytes:
        """Wait for the share that was asked for; empty when no worker has anything left."""
        share: bytes = self._shares.get()
        return share

    def end(self) -> None:
        """Tell all others that no worker has anything left."""
        for _ in range(self._workers - 1):
            self._shares.put(b"")


class Channel:
    """Carries messages from the workers to their parent, while they work.

    The results of a pool come only when all is done, and cross by way of a pickle and of a thread: for 250,000 found
    names that took a tenth of the scan. The parent never waits for the rest of a message: whoever sends it may be dead.

    Args:
        context: How the workers are started.

    Attributes:
        reader: Ready when there is something to receive.

    Raises:
        OSError: If there can be none.
    """

    def __init__(self, context: BaseContext) -> None:
        self.reader, self._writer = context.Pipe(duplex=False)
        os.set_blocking(self.reader.fileno(), False)
        self._lock = context.Lock()
        self._received = bytearray()
        # What does not fit into a pipe stops its writer until the reader has woken, once for every piece.
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # whoever holds too many pipes gets no larger ones
                fcntl.fcntl(self._writer.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def send(self, message: bytes) -> None:
        """Send a message, in a worker."""
        left = memoryview(_LENGTH.pack(len(message)) + message)
        with self._lock:
            while left:
                left = left[os.write(self._writer.fileno(), left) :]

    def receive(self) -> list[bytes]:
        """Give the messages that have come, in the parent and without waiting."""
        with suppress(BlockingIOError):
            while come := os.read(self.reader.fileno(), _READ_BYTES):
                self._received += come
        messages = []
        begin = 0
        with memoryview(self._received) as received:
            while begin + _LENGTH.size <= len(received):
                end = begin + _LENGTH.size + _LENGTH.unpack_from(received, begin)[0]
                if end > len(received):
                    break
                messages.append(bytes(received[begin + _LENGTH.size : end]))
                begin = end
        del self._received[:begin]
        return messages
