"""The entry point of ``runner`` and of ``python -m runner``."""

import sys


def main() -> None:
    """Run the command line; a ^C while it is still being imported is answered as any other."""
    try:
        from runner.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("runner: interrupted\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
