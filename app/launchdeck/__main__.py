"""`launchdeck`, and `python -m launchdeck`: the same."""

import sys


def main() -> int:
    """Run the command line and return its exit status. Ctrl-C ends it quietly even while it is being imported."""
    try:
        from launchdeck.cli import main as run  # noqa: PLC0415 (what is imported up there nobody guards)

        return run()
    except KeyboardInterrupt:
        return 130  # what a shell makes of a command that Ctrl-C has ended


if __name__ == "__main__":
    sys.exit(main())
