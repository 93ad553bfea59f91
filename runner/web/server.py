"""The server: its socket, its limits and its end."""

import logging
import secrets
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from runner.history.backend import Backend
from runner.model.errors import UsageError, reason_of
from runner.web.app import make_app
from runner.web.site import Options, Site

# Connections beyond this number are answered by 503.
_MOST_CONNECTIONS = 512
# A connection that has not sent its request within this time is closed.
_REQUEST_S = 10.0
_KEEP_ALIVE_S = 15
_STOPS_WITHIN_S = 2


class _ImpatientProtocol(H11Protocol):
    """HTTP, whose connections are closed if they do not send a request in time."""

    def connection_made(self, transport: Any) -> None:
        """Begin the wait for the first request."""
        super().connection_made(transport)
        self._patience = self.loop.call_later(_REQUEST_S, self._close_idle)

    def _close_idle(self) -> None:
        if vars(self)["cycle"] is None:  # annotated as never None
            self.transport.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise UsageError if the address is not this machine's, or in use."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(256)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        raise UsageError(f"can't listen on {host} port {port}: {reason_of(error)}; choose another --port") from None
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Return whether only this machine reaches a socket."""
    host = listener.getsockname()[0]
    return bool(host.startswith("127.") or host == "::1")


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def serve(location: Backend, options: Options, listener: socket.socket) -> None:
    """Answer requests until SIGTERM or SIGINT."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    site = Site(location, options)
    try:
        config = uvicorn.Config(
            make_app(site),
            http=_ImpatientProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_STOPS_WITHIN_S,
        )
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        site.close()
