"""Where the program begins: nothing is imported before signals are looked after."""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

from controller.loop import signals


def main() -> NoReturn:
    """The `autoscaler` command."""
    signals.take_over(exit_code=0 if sys.argv[1:2] == ["run"] else None)
    gc.set_threshold(20_000)  # what is imported never becomes garbage, and to look for it takes a tenth of the start
    from controller.cli.main import main as command  # noqa: PLC0415  # it imports much, and a signal may come meanwhile

    command()


if __name__ == "__main__":
    main()
