"""A real server on a real socket, in a thread."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx

from runner.history.database import locate
from runner.web import server, sockets
from runner.web.site import Options, Site


@contextmanager
def served(place: str, options: Options | None = None, host: str = "127.0.0.1") -> Iterator[httpx.Client]:
    """Serve the pages of a database meanwhile; yield a client without proxies, which follows no redirect."""
    with closing(Site(locate(place), options or Options())) as site, sockets.listen(host, 0) as listener:
        running = server.make_server(site)
        thread = threading.Thread(target=running.run, args=([listener],))
        port = listener.getsockname()[1]
        thread.start()
        try:
            with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=20) as client:
                yield client
        finally:
            running.should_exit = True
            thread.join()
