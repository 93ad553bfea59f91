"""Messages to the service manager: the protocol of sd_notify(3), one datagram per message.

Its libraries need a compiler or know no watchdog; the manual page promises that the protocol is stable.
"""

import logging
import os
import re
import socket
import time
from collections.abc import MutableMapping

_log = logging.getLogger(__name__)

# A hanging manager must not block the daemon.
_TIMEOUT_S = 1.0


class ServiceNotifier:
    """Sends messages to the service manager; its errors are logged and never raised.

    Args:
        address: The manager's socket; None to send nothing.
        watchdog_s: Seconds without a watchdog message after which it ends the daemon; None for never.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        # Of an abstract socket, the manager writes the first byte, which is zero, as @.
        self._address = f"\0{address[1:]}" if address is not None and address.startswith("@") else address
        self._watchdog_s = watchdog_s
        self._alive_s = float("-inf")
        self._status = ""
        self._failed = False

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> "ServiceNotifier":
        """Create one from the manager's variables, and remove them: a child process could send in the daemon's name."""
        address, microseconds = environment.pop("NOTIFY_SOCKET", ""), environment.pop("WATCHDOG_USEC", "")
        is_ours = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = is_ours and re.fullmatch("0*[1-9][0-9]{0,17}", microseconds)
        return cls(address if address.startswith(("/", "@")) else None, int(microseconds) / 1e6 if watched else None)

    def ready(self) -> None:
        """Send that the daemon has started, or has loaded its settings again."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Send that the daemon loads its settings again, until :meth:`ready`."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Send that the daemon stops."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Send a watchdog message, if the manager wants one and half of its time is over; may be called at any rate."""
        now_s = time.monotonic()
        if self._watchdog_s is not None and now_s - self._alive_s >= self._watchdog_s / 2:
            self._alive_s = now_s
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Send what the daemon does, in one line, if that has changed."""
        if text != self._status:
            self._status = text
            # A line break in a job's name would begin another message.
            self._send("STATUS=" + "".join(one if one.isprintable() else "?" for one in text))

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(_TIMEOUT_S)
                channel.sendto(message.encode(), os.fsencode(self._address))
        except OSError as error:
            if not self._failed:
                _log.warning("the service manager does not receive messages: %s", error)
            self._failed = True
        else:
            self._failed = False
