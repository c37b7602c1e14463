"""What every command prints goes through here: lines and tables that fit the terminal, colours, progress, JSON.

The width is the terminal's, or COLUMNS, or 80 where there is no terminal. Colours are for terminals only, and for none
where NO_COLOR is set (https://no-color.org); FORCE_COLOR asks for them where there is no terminal. What a text from
outside holds is masked first, then spelt out (visible), and only then broken into lines and coloured.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeVar

from controller.core.text.escaping import as_json, visible
from controller.core.text.layout import Rows, table, wrap
from controller.core.text.masking import Masker, secrets_of_a_crash
from controller.core.units import percent

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
Style = Literal["error", "warning", "ok", "heading"]
Block = str | Rows
"""A paragraph, which may begin with its indent; or a table whose first column is text and whose others are figures."""
_CODES: dict[Style, str] = {"error": "31", "warning": "33", "ok": "32", "heading": "1"}
_NARROWEST = 40
_UNKNOWN = (80, 24)


def width() -> int:
    """Columns of the terminal, or of COLUMNS; 80 where there is neither."""
    return max(_NARROWEST, shutil.get_terminal_size(_UNKNOWN).columns)


def coloured(stream: TextIO) -> bool:
    """Whether a stream takes colours."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def paint(text: str, style: Style, stream: TextIO | None = None) -> str:
    """The text in the colour of its style, where the stream (stdout, if none is named) takes colours."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if text and coloured(stream or sys.stdout) else text


def show(text: str, *, first: str = "", rest: str | None = None, style: Style | None = None, painted: str = "") -> None:
    """A paragraph on stdout. style: of the whole, or of the words `painted`, which its first line holds."""
    lines = wrap(visible(text), width(), first=first, rest=rest)
    if style is not None and painted:
        lines[0] = lines[0].replace(painted, paint(painted, style), 1)
    elif style is not None:
        lines = [paint(line, style) for line in lines]
    print("\n".join(lines))


def show_table(rows: Rows, *, right: Collection[int] = (), indent: str = "") -> None:
    """A table on stdout, whose first row is its heading."""
    harmless = [[visible(cell) for cell in row] for row in rows]
    for number, lines in enumerate(table(harmless, width() - len(indent), right=right)):
        for line in lines:
            print(f"{indent}{line if number else paint(line, 'heading')}")


def show_blocks(blocks: Iterable[Block], mask: Masker) -> None:
    """Paragraphs and tables in their order, an empty line around each table."""
    for block in blocks:
        if isinstance(block, str):
            indent = block[: len(block) - len(block.lstrip())]
            show(mask.text(block), first=indent, rest=indent)
        else:
            print()
            show_table(mask.value(block), right=range(1, len(block[0])))


def complain(text: str, *, kind: Literal["error", "warning"] = "error") -> None:
    """A paragraph on stderr: `autoscaler: …`, or `autoscaler: warning: …`."""
    head = "autoscaler:" if kind == "error" else "autoscaler: warning:"
    lines = wrap(visible(text), width(), first=f"{head} ", rest="  ")
    lines[0] = lines[0].replace(head, paint(head, kind, sys.stderr), 1)
    print("\n".join(lines), file=sys.stderr)


def print_json(value: Any, indent: int | None = None) -> None:
    """On stdout, valid whatever its encoding is."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    print(as_json(value, indent=indent, only_ascii=encoding != "utf8"))


# --- how far a command is: one line on a terminal's stderr ---


def note(text: str) -> None:
    """On stderr; on a terminal it takes the place of the progress, and without a line break that of the next note."""
    print(f"\r{text}\x1b[K" if sys.stderr.isatty() else text, end="", file=sys.stderr, flush=True)


@contextmanager
def progress(doing: str, unit: str = "") -> Iterator[Callable[[float, float | None], None]]:
    """Shows what is done, of how much (None: unknown), while stderr is a terminal."""
    is_terminal = sys.stderr.isatty()

    def shows(done: float, of: float | None) -> None:
        if is_terminal:
            how_far = bar(done / of) if of else f"{done:,.0f}{unit}"
            note(f"{doing} {how_far}"[: width() - 1])

    try:
        yield shows
    finally:
        if is_terminal:
            note("")


def bar(share: float) -> str:
    filled = round(30 * min(1.0, share))
    return f"[{'#' * filled}{'.' * (30 - filled)}] {percent(min(1.0, share)):>5}"


# --- what several commands come to say ---


def answered(asking: Coroutine[Any, Any, T], mask: Masker | None = None) -> T:
    """What was asked of PostgreSQL; where it does not answer, that is said, and the program ends with 1."""
    from controller.core.ports import Unavailable
    from controller.loop import signals

    try:
        return signals.interruptible(asking)
    except Unavailable as unavailable:
        mask = mask or Masker(secrets_of_a_crash(os.environ))
        complain(mask.text(str(unavailable)))
        raise SystemExit(1) from None


def needs_extra(extra: str, error: ModuleNotFoundError) -> int:
    """The exit code; a module that the command needs is not installed."""
    if error.name is not None and error.name.startswith("controller"):
        raise error
    complain(f"this command needs {error.name}; in a checkout, install it with: pip install '.[{extra}]'")
    return 2
