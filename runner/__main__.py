"""The entry point of ``runner`` and of ``python -m runner``."""

import gc
import sys

from runner.model.errors import is_condition, reason_of

# Imports make many objects and no garbage; Python's threshold of 700 costs a tenth of the start.
_GC_THRESHOLD = 100_000


def main() -> None:
    """Run the command line; a ^C or a shortage while it is still being imported is answered in one line."""
    gc.set_threshold(_GC_THRESHOLD)
    try:
        from runner.cli.commands import lazy_imports

        with lazy_imports():
            from runner.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("runner: interrupted\n")
        sys.exit(130)
    except Exception as error:
        if not is_condition(error):
            raise
        sys.stderr.write(f"runner: it can't be started: {reason_of(error)}; raise its limits\n")
        sys.exit(1)
    try:
        run()
    finally:
        gc.freeze()  # else Python searches all modules for garbage at exit


if __name__ == "__main__":
    main()
