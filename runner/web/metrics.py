"""The daemon's metrics, collected when they are asked for."""

import threading
import time

from runner.history import daemons
from runner.operations.metrics_collector import MetricsCollector
from runner.operations.metrics_text import metrics_text
from runner.web.site import Site

CONTENT_TYPE = "text/plain; version=0.0.4"
_KEPT_S = 1.0


class MetricsPage:
    """The metrics of a site; counters start at the first request."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._collecting = threading.Lock()
        self._collector: MetricsCollector | None = None
        self._text = ""
        self._collected_s = -_KEPT_S

    def text(self) -> str:
        """Return the metrics as text, at most a second old."""
        with self._collecting:
            if time.monotonic() - self._collected_s >= _KEPT_S:
                self._text = self._collect()
                self._collected_s = time.monotonic()
            return self._text

    def _collect(self) -> str:
        now = self._site.clock()
        if self._collector is None:
            self._collector = MetricsCollector(self._site, now)
        self._collector.update()
        with self._site.view() as view:
            daemon = daemons.find_daemon(view)
        samples = self._collector.samples(
            now,
            up=daemon is not None and daemons.state_of(daemon, now) is daemons.DaemonState.ALIVE,
            alive_at=daemon.heartbeat_at if daemon else None,
            started_at=daemon.started_at if daemon else None,
        )
        return metrics_text(samples)
