"""The server: its socket, its limits and its end."""

import logging
import os
import secrets
import signal
import socket
import threading
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from runner.web import rendering
from runner.web.app import make_app
from runner.web.site import Site

# Connections beyond this number are answered by 503; beyond some more, not at all, as descriptors are limited.
_MOST_CONNECTIONS = 400
_MORE_CONNECTIONS = 100
# A connection on which nothing moves for this long is closed: no request, or an answer that is not read.
_PROGRESS_S = 10.0
_KEEP_ALIVE_S = 15
_STOPS_WITHIN_S = 2
# After a signal, a query that still runs does not keep the process longer.
_ENDS_WITHIN_S = 2.5


class _ImpatientProtocol(H11Protocol):
    """HTTP, whose connections are closed if neither a request nor its answer makes progress."""

    def connection_made(self, transport: Any) -> None:
        """Begin to watch the progress."""
        super().connection_made(transport)
        self._progress: object = (None, 0)
        self._timer = self.loop.call_later(_PROGRESS_S, self._watch)
        if len(self.connections) > _MOST_CONNECTIONS + _MORE_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End to watch."""
        self._timer.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        cycle, unsent = vars(self)["cycle"], self.transport.get_write_buffer_size()  # cycle is None at first
        waits = cycle is None or cycle.response_complete or unsent
        if waits and self._progress == (cycle, unsent):
            self.transport.abort()
            return
        self._progress = cycle, unsent
        self._timer = self.loop.call_later(_PROGRESS_S, self._watch)


class _Server(uvicorn.Server):
    """A server that ends soon after a signal, whatever its requests do."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        super().handle_exit(sig, frame)
        end = threading.Timer(_ENDS_WITHIN_S, os._exit, [130 if sig == signal.SIGINT else 0])
        end.daemon = True
        end.start()


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def make_server(site: Site) -> uvicorn.Server:
    """Return the server of a site."""
    config = uvicorn.Config(
        make_app(site),
        http=_ImpatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOPS_WITHIN_S,
    )
    # Its lines would contain the token.
    logging.getLogger("uvicorn.access").disabled = True
    return _Server(config)


def serve(site: Site, listener: socket.socket) -> None:
    """Serve pages until SIGTERM or SIGINT."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    threading.Thread(target=rendering.compile_templates, name="templates", daemon=True).start()
    make_server(site).run(sockets=[listener])
