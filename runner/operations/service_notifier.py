"""What the daemon tells the service manager that started it: sd_notify(3)'s protocol, one datagram for each message.

The libraries for it are a binding to libsystemd, which needs a compiler and its headers, or one file that was last
changed in 2017 and has no watchdog; the manual page promises that the protocol stays as it is.
"""

import logging
import os
import re
import socket
import time
from collections.abc import MutableMapping

_log = logging.getLogger(__name__)

# A manager that is held up must not hold up the daemon.
_PATIENCE_S = 1.0


class ServiceNotifier:
    """The service manager, or nobody: then nothing is sent. No error of it ends the daemon.

    Args:
        address: The socket it listens at; None for nobody.
        watchdog_s: Seconds after which it takes a silent daemon for dead; None for never.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = address
        self._watchdog_s = watchdog_s
        self._alive_at = float("-inf")
        self._status = ""
        self._failed = False

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> "ServiceNotifier":
        """Take what it has left for this process, and for no child of it, which could else speak for the daemon."""
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        ours = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = ours and re.fullmatch("0*[1-9][0-9]{0,17}", microseconds)
        return cls(
            address if address.startswith(("/", "@")) else None,
            int(microseconds) / 1e6 if watched else None,
        )

    def ready(self) -> None:
        """Tell that the daemon has started, or has taken over what it was to read anew."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Tell that the daemon reads anew what it goes by; :meth:`ready` tells the end of that."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Tell that the daemon is about to end."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Tell that the daemon is alive, if it is asked for and half of its time is over; may be called at any rate."""
        now = time.monotonic()
        if self._watchdog_s is not None and now - self._alive_at >= self._watchdog_s / 2:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Tell what the daemon does, in a line that a person reads, if that has changed."""
        if text != self._status:
            self._status = text
            # A line break in a name would begin another message.
            self._send("STATUS=" + "".join(one if one.isprintable() else "?" for one in text))

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        address = os.fsencode(self._address)
        if address.startswith(b"@"):
            address = b"\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(_PATIENCE_S)
                channel.sendto(message.encode(), address)
        except OSError as error:
            if not self._failed:
                _log.warning("the service manager can't be told anything: %s", error)
            self._failed = True
        else:
            self._failed = False
