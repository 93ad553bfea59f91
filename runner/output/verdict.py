"""Whether the pool was faster, in one sentence."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from runner.model.runs import Execution, Run
from runner.model.units import format_count
from runner.trends.compare import NotEnoughRuns, Verdict, judge, ratio_interval

_SENTENCES = {
    Verdict.FASTER: "the pool was faster than sequential",
    Verdict.SLOWER: "the pool was slower than sequential",
    Verdict.SAME: "the pool took as long as sequential within 5 %",
    Verdict.UNDECIDED: "it is undecided whether the pool was faster; more runs will decide",
}


def verdict_view(runs: Sequence[Run]) -> RenderableType:
    """Render the comparison of the pool with sequential over runs in one environment."""
    baseline, other = (_walls(runs, strategy) for strategy in ("sequential", "pool"))
    try:
        ratio = ratio_interval(baseline, other)
    except NotEnoughRuns as error:
        return Text(f"Verdict: none yet. {error}")
    return Text(
        f"Verdict over {format_count(len(baseline), 'run')}: {_SENTENCES[judge(ratio)]}: "
        f"{ratio.estimate:.2f} times its wall time (95 % interval {ratio.low:.2f} to {ratio.high:.2f})."
    )


def _walls(runs: Sequence[Run], strategy: str) -> list[float]:
    executions: list[Execution] = [one for run in runs for one in run.executions if one.strategy == strategy]
    return [one.wall_s for one in executions if one.wall_s is not None]
