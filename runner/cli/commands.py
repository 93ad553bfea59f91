"""The commands: their names, panels and summaries.

A command's module is imported when the command is called, and executes the modules that it imports at their first use,
so that help and completion need none of them.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from runner.model.errors import UsageError

# By the heading in the help: for each command its module and function, and the first paragraph of its help.
_PANELS = {
    "Jobs": {
        "schedule": ("edit.schedule", "Create a job that scans DIR on a schedule."),
        "edit": (
            "edit.edit",
            "Change a job. Other options stay; patterns, excludes, strategies and notifications are replaced whole.",
        ),
        "pause": ("edit.pause", "Pause a job: its schedule does not fire until it is resumed."),
        "resume": ("edit.resume", "Resume a paused job. Fire times that passed during the pause are not caught up."),
        "remove": ("edit.remove", "Remove a job. Its history stays, and its name can be used again."),
        "next": (
            "upcoming.upcoming",
            "Show the next fire times, with a note at the gaps and repeats of daylight saving.",
        ),
        "explain": (
            "explain.explain",
            "Explain a job in plain sentences: what it finds, when it fires, and what happens then.",
        ),
        "jobs": (
            "jobs.app",
            "List the jobs with their next fire times and last runs; or export and apply a job file. Aliases: ls list.",
        ),
    },
    "Running": {
        "run": ("run.run", "Run a job once, now. A directory without a job becomes a job without a schedule."),
        "daemon": ("daemon.daemon", "Run the jobs at their fire times, in the foreground, until SIGTERM or ^C."),
        "status": (
            "daemon.status",
            "Show whether a daemon is alive, its running runs and the next fire time. Exits with 1 if none is alive.",
        ),
        "cancel": (
            "run.cancel",
            "Cancel a running run of any process. The result of a strategy that has finished is kept.",
        ),
        "service": ("service.app", "Run the daemon as a service of systemd or launchd."),
    },
    "Asking": {
        "history": ("history.history", "List runs, newest first, with the wall time of each strategy."),
        "show": ("history.show", "Show one run with its executions, changes, problems, environment and notifications."),
        "files": (
            "contents.files",
            "List the files that a job found, now or at an earlier run. Paths are relative to its root.",
        ),
        "changes": (
            "contents.changes",
            "List the files added, removed or modified between two runs or instants, by default in the last run.",
        ),
        "trends": (
            "trends.trends",
            "Show whether the pool is faster, when a job became slower and by how much, and its drift.",
        ),
        "regressions": (
            "trends.regressions",
            "List strategies that became slower and have not recovered. Exits with 1 if there is one, for CI.",
        ),
        "web": ("web.web", "Show jobs, runs, files, changes and trends as web pages, until ^C."),
        "report": (
            "web.report",
            "Write a report about jobs as one HTML file, which needs no server and no network.",
        ),
        "calibrate": (
            "calibrate.calibrate",
            "Measure which number of workers and start method scan DIR fastest, and from which size a pool is faster.",
        ),
    },
    "Trying it out": {
        "sample": ("sample.sample", "Write a sample tree. A recipe writes the same bytes each time."),
        "lesson": (
            "sample.lesson",
            "Run the two experiments of the lesson, in a loop and with Pool.map, and show their times.",
        ),
        "demo": (
            "sample.demo",
            "Show a tour in a scratch directory: a sample tree, a schedule, some runs, their history and a verdict.",
        ),
    },
    "Care": {
        "prune": (
            "database.prune",
            "Delete old runs of a job, or of all jobs. Answers about the other runs stay the same.",
        ),
        "db": ("database.app", "Maintain the database: path, upgrade, check, backup."),
    },
}
_ALIASES = {"ls": "jobs", "list": "jobs"}
# Words of other programs, and the commands that do the same here.
_MEANT = {
    **dict.fromkeys(("add", "create", "new", "init"), "runner schedule"),
    **dict.fromkeys(("delete", "del", "rm"), "runner remove"),
    **dict.fromkeys(("log", "logs", "runs"), "runner history"),
    **dict.fromkeys(("diff", "compare"), "runner changes"),
    **dict.fromkeys(("start", "up"), "runner daemon` or `runner run"),
    **dict.fromkeys(("stop", "kill"), "runner cancel` or `runner pause"),
    **dict.fromkeys(("update", "set", "rename"), "runner edit"),
    **dict.fromkeys(("serve", "dashboard", "ui"), "runner web"),
    "scan": "runner run",
    "enable": "runner resume",
    "disable": "runner pause",
    "info": "runner show` or `runner explain",
    "clean": "runner prune",
}


class _LazyModule(ModuleType):
    """A module that is executed when one of its names is used for the first time."""

    def __getattribute__(self, name: str) -> Any:
        # CPython looks up __spec__ in each import and discards errors of that, even a ^C within the module's code.
        if name == "__spec__":
            return super().__getattribute__(name)
        spec = self.__spec__
        assert spec is not None and spec.loader is not None  # noqa: S101, PT018  the finder has set them
        self.__class__ = ModuleType  # type: ignore[assignment]
        try:
            spec.loader.exec_module(self)
        except BaseException:
            self.__class__ = _LazyModule
            raise
        return getattr(self, name)


class _LazyModuleLoader(LazyLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        module.__class__ = _LazyModule


class _LazyFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname.startswith(("runner.", "rich.")) else None
        if spec is not None and spec.loader is not None and spec.submodule_search_locations is None:
            spec.loader = _LazyModuleLoader(spec.loader)
        return spec


@contextmanager
def lazy_imports() -> Iterator[None]:
    """Import modules of runner and Rich lazily, as long as no name is imported from them."""
    # Not for good: before Python 3.12, two threads must not use a lazy module for the first time at once.
    finder = _LazyFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class CommandGroup(TyperGroup):
    """The commands, until one is called only with their summaries."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._functions: dict[str, str] = {}
        for panel, commands in _PANELS.items():
            for name, (function, summary) in commands.items():
                self._functions[name] = function
                self.add_command(TyperCommand(name, help=summary, rich_help_panel=panel))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name or an alias."""
        return super().get_command(ctx, _ALIASES.get(cmd_name, cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the command that the first of *args* names."""
        if args[0] in _MEANT:
            raise UsageError(f"there is no command {args[0]!r}; use `{_MEANT[args[0]]}`")
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and self.load(str(command.name)), rest

    def load(self, name: str) -> Any:
        """Import a command."""
        module, _, function = self._functions[name].partition(".")
        with lazy_imports():
            declared = getattr(import_module(f"runner.cli.{module}"), function)
        if not isinstance(declared, typer.Typer):
            single = typer.Typer(add_completion=False)
            single.command(name)(declared)
            declared = single
        command = typer.main.get_command(declared)
        command.name = name
        _complete(command)
        return command

    def load_all(self) -> "CommandGroup":
        """Import all commands, for the documentation."""
        self.commands = {name: self.load(name) for name in self.commands}
        return self


def _complete(command: Any) -> None:
    """Add --json beside --format, and join the lines of each paragraph of help, which a terminal breaks again."""
    paragraphs = (command.help or "").split("\n\n")
    command.help = "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)
    for place, parameter in enumerate(command.params, 1):
        if parameter.name == "fmt":
            short = TyperOption(
                param_decls=["--json"], is_flag=True, is_eager=True, expose_value=False, help="Short for --format json."
            )
            command.params.insert(place, short)
            break
    for inner in getattr(command, "commands", {}).values():
        _complete(inner)
