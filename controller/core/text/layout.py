"""Wraps text and tables to a number of columns. Pure: the width is an argument, and nothing is printed here.

Nothing is cut off. A text that is too wide continues in the next line, and a table that cannot be made narrow enough
becomes a list: one block per row, one line per cell. Texts from outside must be masked and escaped (escaping.py) before
that, because the masking would not find a secret that is wrapped over two lines.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache

Row = Sequence[str]
Rows = Sequence[Row]
"""A table; the first row is its heading."""
_NARROWEST = 8
"""Columns of a text cell below which a table is harder to read than a list."""
_INDENTED_FROM = 16
"""Columns from which a cell is wide enough to indent its continued lines."""
_BREAKS = (frozenset("/.,:;=&?"), frozenset("_-)]}"))
"""Signs after which a word longer than a line is broken; the first set is preferred."""
_PIECE = re.compile(r"[^/.,:;=&?]*[/.,:;=&?]?")
_SAMPLE = 200
"""Number of rows from which the widths of the columns are chosen."""
_PER_CELL = 0.01
"""What a line of one cell costs beside a line of the whole table: it decides between widths that are equal else."""
_AS_CODE = len("--   ")
_NUMBER = re.compile(r"[-+]?[0-9][0-9.,]*%?")
_SQL = re.compile(
    r"""(?P<space>[ \t]*\n[ \t]*|[ \t\r\f\v]+)
    |(?P<comment>--[^\n]*)
    |'(?:[^']|'')*'|"(?:[^"]|"")*"|(?P<tag>\$\w*\$).*?(?P=tag)|/\*.*?\*/
    |[^\s'"$/-]+|.""",
    re.DOTALL | re.VERBOSE,
)


def columns_of(text: str) -> int:
    """How many terminal columns a text takes: 2 for each wide East Asian character, 0 for a combining accent."""
    if text.isascii():
        return len(text)
    return sum(_columns_of_one(one) for one in text)


def _columns_of_one(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def wrap(text: str, width: int, *, first: str = "", rest: str | None = None) -> list[str]:
    """The words of a text in lines of at most `width` columns.

    first, rest: the prefix of the first line and of the others; without `rest`, blanks as wide as `first`. A word that
    is longer than a line is broken, if possible after a sign such as `/`.
    """
    return _filled(text.split(), width, first, " " * columns_of(first) if rest is None else rest)


def wrap_sql(text: str, width: int, *, first: str = "", rest: str | None = None) -> list[str]:
    """The same for SQL, without changing its meaning: no break within quotes, and a comment continues as a comment.

    Existing line breaks and indents stay. A quoted name or text that is longer than a line stays whole. A comment that
    is indented by three blanks or more is wrapped as SQL.
    """
    rest = " " * columns_of(first) if rest is None else rest
    lines: list[str] = []
    words: list[str] = []
    indent, is_new_word, is_empty = "", True, True

    def end_line() -> None:
        if words:
            start, room = rest if lines else first, width - columns_of(f"{rest}{indent}")
            pieces = [piece for word in words for piece in ([word] if columns_of(word) <= room else _pieces(word))]
            lines.extend(_filled(pieces, width, f"{start}{indent}", f"{rest}{indent}", breaks=False))
            words.clear()

    for match in _SQL.finditer(text):
        if match["space"] is not None:
            is_new_word = True
            if "\n" in match["space"]:
                end_line()
                if is_empty:
                    lines.append("")
                indent, is_empty = match["space"].rpartition("\n")[2], True
            continue
        is_empty = False
        if match["comment"] is not None:
            follows = bool(words)
            end_line()
            if follows and columns_of(f"{lines[-1]}  {match['comment']}") <= width:
                lines[-1] += f"  {match['comment']}"
            else:
                lines.extend(_comment(match["comment"], width, f"{rest if lines else first}{indent}"))
        elif is_new_word:
            words.append(match[0])
        else:
            words[-1] += match[0]
        is_new_word = False
    end_line()
    return lines


def _pieces(word: str) -> list[str]:
    """Splits SQL without blanks where a blank changes nothing: after each `(` and `,` outside quotes."""
    pieces = [""]
    for match in _SQL.finditer(word):
        quoted = match[0][0] in "'\"$" or match["comment"] is not None
        for part in [match[0]] if quoted else re.findall(r"[^(,]*[(,]?", match[0]):
            pieces[-1] += part
            if not quoted and part.endswith(("(", ",")):
                pieces.append("")
    return [piece for piece in pieces if piece]


def _comment(text: str, width: int, before: str) -> list[str]:
    said = text[2:].lstrip()
    sign = text[: len(text) - len(said)]
    if len(sign) >= _AS_CODE:
        return wrap_sql(said, width, first=f"{before}{sign}", rest=f"{before}{sign}")
    return wrap(said, width, first=f"{before}{sign}", rest=f"{before}{sign}")


def _filled(words: Iterable[str], width: int, first: str, rest: str, *, breaks: bool = True) -> list[str]:
    lines: list[str] = []
    line, is_empty = first, True
    for word in words:
        left = word
        while left:
            candidate = f"{line}{left}" if is_empty else f"{line} {left}"
            if columns_of(candidate) <= width or (is_empty and not breaks):
                line, left, is_empty = candidate, "", False
            elif not is_empty:
                lines.append(line)
                line, is_empty = rest, True
            else:
                head, left = _broken(left, max(1, width - columns_of(line)))
                lines.append(f"{line}{head}")
                line = rest
    if not is_empty or not lines:
        lines.append(line)
    return lines


def _broken(word: str, room: int) -> tuple[str, str]:
    """The part of a word that fits, if possible up to a sign in _BREAKS, and the rest."""
    end, used = 0, 0
    while end < len(word) and used + _columns_of_one(word[end]) <= room:
        used += _columns_of_one(word[end])
        end += 1
    end = max(1, end)
    if end == len(word):
        return word, ""
    for breaks in _BREAKS:
        for place in range(end, end // 4, -1):
            if word[place - 1] in breaks:
                return word[:place], word[place:]
    return word[:end], word[end:]


def table(rows: Rows, width: int, *, right: Collection[int] = ()) -> Iterator[list[str]]:
    """The lines of each row. right: indexes of number columns; they are right-aligned and never broken.

    If even the narrowest table is wider than `width`, each row becomes a list.
    """
    count = len(rows[0])
    natural = [max(columns_of(row[index]) for row in rows) for index in range(count)]
    for gap in (2, 1):
        if sum(natural) + gap * (count - 1) <= width:
            yield from _laid_out(rows, natural, gap, right)
            return
    room = width - 2 * (count - 1)
    for least in (_whole_pieces, _whole_numbers):
        widths = [
            size if index in right else min(size, least([row[index] for row in rows]))
            for index, size in enumerate(natural)
        ]
        if sum(widths) <= room:
            yield from _laid_out(rows, _widened(rows, widths, natural, room), 2, right)
            return
    yield from _stacked(rows, width)


def markdown(rows: Rows, *, right: Collection[int] = ()) -> list[str]:
    """The lines of a table in Markdown. right: indexes of the columns that are right-aligned; a `|` is escaped."""
    marks = "".join(f"{'---:' if index in right else '---'}|" for index in range(len(rows[0])))
    head, *others = ["|" + "|".join(_markdown_cell(cell) for cell in row) + "|" for row in rows]
    return [head, f"|{marks}", *others]


def _markdown_cell(text: str) -> str:
    escaped = text.replace("|", r"\|")
    return f" {escaped} " if escaped else " "


def _whole_pieces(cells: Sequence[str]) -> int:
    """The width at which no part of a path or a name is broken."""
    pieces = (piece for cell in cells for word in cell.split() for piece in _PIECE.findall(word))
    return max(_NARROWEST, columns_of(cells[0]), *(columns_of(piece) + 2 for piece in pieces))


def _whole_numbers(cells: Sequence[str]) -> int:
    numbers = (word for cell in cells for word in cell.split() if _NUMBER.fullmatch(word))
    return max([_NARROWEST, columns_of(cells[0]), *map(columns_of, numbers)])


def _widened(rows: Rows, widths: Sequence[int], natural: Sequence[int], room: int) -> list[int]:
    """Distributes the free room so that the table needs few lines and breaks few words; a broken word costs a line.

    Each step widens one column by as much as saves most lines per terminal column: one terminal column alone often
    saves none. What saves nothing more goes to the widest column.
    """
    sample = rows[:_SAMPLE]

    @cache
    def heights(index: int, size: int) -> list[int]:
        return [_lines_of(row[index], size) for row in sample]

    @cache
    def broken(index: int, size: int) -> int:
        return sum(columns_of(word) > size for row in sample for word in row[index].split())

    def cost(sizes: Sequence[int]) -> float:
        cells = [heights(index, size) for index, size in enumerate(sizes)]
        lines: int = sum(max(row) for row in zip(*cells, strict=True))
        breaks = sum(broken(index, size) for index, size in enumerate(sizes))
        return lines + breaks + _PER_CELL * sum(sum(column) for column in cells)

    chosen = list(widths)
    while free := room - sum(chosen):
        before = cost(chosen)
        steps = [
            ((before - cost([*chosen[:index], size + more, *chosen[index + 1 :]])) / more, natural[index], -more, index)
            for index, size in enumerate(chosen)
            for more in range(1, min(free, natural[index] - size) + 1)
        ]
        if not steps:
            break
        _, _, less, index = max(steps)
        chosen[index] -= less
    return chosen


def _lines_of(cell: str, size: int) -> int:
    return 1 if columns_of(cell) <= size else len(_wrapped(cell, size))


def _wrapped(cell: str, size: int) -> list[str]:
    return wrap(cell, size, rest="  " if size >= _INDENTED_FROM else " ")


def _laid_out(rows: Rows, widths: Sequence[int], gap: int, right: Collection[int]) -> Iterator[list[str]]:
    for row in rows:
        cells = [
            _wrapped(cell, size) if columns_of(cell) > size else [cell] for cell, size in zip(row, widths, strict=True)
        ]
        yield [
            (" " * gap)
            .join(
                _padded(cell[line] if line < len(cell) else "", size, to_the_right=index in right)
                for index, (cell, size) in enumerate(zip(cells, widths, strict=True))
            )
            .rstrip()
            for line in range(max(map(len, cells)))
        ]


def _padded(text: str, size: int, *, to_the_right: bool) -> str:
    blanks = " " * (size - columns_of(text))
    return f"{blanks}{text}" if to_the_right else f"{text}{blanks}"


def _stacked(rows: Rows, width: int) -> Iterator[list[str]]:
    heads, *others = rows
    yield []
    for row in others:
        lines = wrap(row[0], width, rest="  ")
        for head, cell in zip(heads[1:], row[1:], strict=True):
            if cell:
                lines += wrap(f"{head}: {cell}" if head else cell, width, first="  ", rest="    ")
        yield lines
