"""Listening sockets; a module that loads nothing else, for the daemon."""

import socket

from runner.model.errors import UsageError, reason_of


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise UsageError if the address is not this machine's, or in use."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        family, kind, protocol, _, address = found
        # With its protocol: else asyncio leaves Nagle's algorithm on, which delays answers by 40 ms.
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(256)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        raise UsageError(
            f"can't listen on {host} port {port}: {reason_of(error)}; choose another address or port"
        ) from None
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Return whether only this machine reaches a socket."""
    host = listener.getsockname()[0]
    return bool(host.startswith("127.") or host == "::1")
