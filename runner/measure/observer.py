"""The observer of a run, which receives its progress and may stop it."""

from collections.abc import Callable
from dataclasses import dataclass

from runner.measure.trials import Progress
from runner.model.runs import Status


@dataclass(frozen=True, kw_only=True, slots=True)
class RunObserver:
    """Callbacks of a run's caller; stop, give_up and on_progress are called several times a second.

    Attributes:
        stop: Returns a status to end the run, which is recorded.
        give_up: Returns whether to cancel the run while it waits for others.
        on_strategy: Receives the strategy that begins, and its position.
        on_progress: Receives the progress.
        on_wait: Called once for each run that this one waits for. Other reasons to wait are logged.
        on_unended: Receives the function that records the end of a failed run, if that is impossible now.
        patient: Whether to wait for an unusable database instead of failing.
    """

    stop: Callable[[], Status | None] = lambda: None
    give_up: Callable[[], bool] = bool
    on_strategy: Callable[[str, int], None] = lambda _strategy, _position: None
    on_progress: Callable[[Progress], None] = lambda _progress: None
    on_wait: Callable[[str], None] = lambda _message: None
    on_unended: Callable[[Callable[[], object]], None] = lambda _write: None
    patient: bool = False
