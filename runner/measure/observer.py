"""What a caller learns of a run while it goes on, and how the caller stops it."""

from collections.abc import Callable
from dataclasses import dataclass

from runner.measure.trials import Progress
from runner.model.runs import Status


@dataclass(frozen=True, kw_only=True, slots=True)
class RunObserver:
    """Who watches a run, and may stop it.

    Attributes:
        stop: Asked several times a second; a status ends the run, which is then recorded with it.
        give_up: Asked likewise, but only as long as the run has to wait for others: whether not to begin it at all.
        on_strategy: Told which strategy begins, and its position.
        on_progress: Told several times a second how far it has come.
        on_wait: Told for whose end the run has to wait, once for each. What else it waits for is logged.
        on_unended: Left what records the end of a run that an error stopped, when that can't be recorded now.
        patient: Whether to wait for a database that can't be used for now, rather than give up.
    """

    stop: Callable[[], Status | None] = lambda: None
    give_up: Callable[[], bool] = bool
    on_strategy: Callable[[str, int], None] = lambda _strategy, _position: None
    on_progress: Callable[[Progress], None] | None = None
    on_wait: Callable[[str], None] = lambda _message: None
    on_unended: Callable[[Callable[[], object]], None] = lambda _write: None
    patient: bool = False
