"""A preset: where the jobs of a queue library are, as SQL. Its file (TOML) becomes a frozen value, or is refused.

The presets that ship and those of a user's own are read by the same reader. A file may come from anywhere: it is of
bounded size, nothing in it grows without bound, and what it says is checked as far as its text shows; PostgreSQL, which
is asked in a read-only transaction, has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from controller.core.problems import ConfigurationError
from controller.core.text import bounds
from controller.policy.document import Document, Origin, Path
from controller.policy.errors import keys_at, record
from controller.policy.names import NAME_BYTES, Prefix
from controller.policy.sql import fragment_problem
from controller.policy.types import Part

MOST_CHARACTERS = 100_000
"""Of a preset's file; the longest that ships has 8,000."""
LONGEST_SQL = 20_000
"""Characters of one piece of SQL, once its {words} are spelled out; as many as queue.sql may have."""
_MOST_SPELLED = 1_000_000
ARMS = ("ready", "processing", "scheduled", "failed", "held", "finished")
"""Where a row of a library's can be."""
_EXPRESSIONS = ("soon", "since", "oldest", "alive", "claimed_at", "began", "held_by", "common")
_PLACEHOLDER = re.compile(r"\{([a-z_0-9]+)\}")
_OF_NAMES = frozenset({"prefix", "queue"})
_OF_CHANNELS = frozenset({"schema", "prefix", "queue", "schema_sha224"})
_OF_SQL = frozenset({"stale", "first_queue"})
_OF_KEY: Mapping[Path, tuple[str, ...]] = {("oldest",): ("ready",), ("soon",): ("ahead",)}
"""Names that are known in one key only."""
_MOST = 50
_MOST_DOTS = 300
"""In one line."""


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Sql = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_SQL)]
Parts = Annotated[tuple[Sql, ...], BeforeValidator(_several), Field(max_length=_MOST)]
Text = Annotated[str, StringConstraints(max_length=1_000)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_several), Field(max_length=_MOST)]
Short = Annotated[str, StringConstraints(min_length=1, max_length=NAME_BYTES)]


class Form(Part):
    """One shape of a library's tables.

    needs, lacks: `table.column` names that the tables must and must not have, or `table.column=value` for a value of
    an enum. versions: of the library, for people.

    The arms ready, processing, scheduled, failed, held and finished are lists of parts, which are added up; each row
    of the library's is in exactly one arm. ready: what a worker that starts now would run, also what the library
    itself would first free or promote. scheduled: the same for later. failed: given up. held: unfinished, but no
    worker takes it and no time alone changes that (paused, blocked, out of attempts). finished: done or cancelled. No
    reading counts held and finished: they are there so that no state is forgotten.

    soon: a condition on a row of scheduled: it is ready within {ahead}, an interval, so that a worker may start before
    it is due. Leave it out where a row is not ready at its time, or turns into another row that counts beside it.

    A part is what stands behind FROM: tables, WHERE, conditions, the row with the queue's name aliased j. {names} in
    braces stand for tables, quoted and with their schema. Times are timestamptz; where a library stores naive UTC, the
    form converts it: timezone('UTC', j.run_at).

    since: when a ready job became ready. oldest: a scalar query for the age of the oldest ready job in seconds, where
    since cannot say it; {ready} in it is the query of all ready rows. alive: true for a processing job that is still
    being worked on; {stale} in it is an interval. claimed_at: when a processing job was claimed, or last showed a sign
    of life. began: when the work on it was begun, where claimed_at does not say it. held_by: who holds a processing
    job, if that text has the name of the worker's host in it. common: a WITH query that the parts use.
    keeps_claims_of_the_dead: the parts know no sign of life, so that a dead worker's job counts as processing until its
    row is changed, or by queue.stale_after. words: conditions that the parts share, written {word} in them; a word may
    use those above it. Once the file is read, they are spelled out.
    """

    model_config = ConfigDict(defer_build=True)  # built with the first preset: most controllers read none

    hints: ClassVar[Mapping[str, str]] = {"pending": "write ready", "running": "write processing"}
    ready: Parts = Field(min_length=1)
    processing: Parts = Field(min_length=1)
    scheduled: Parts = ()
    soon: Sql | None = None
    failed: Parts = ()
    held: Parts = ()
    finished: Parts = ()
    since: Sql | None = None
    oldest: Sql | None = None
    alive: Sql | None = None
    claimed_at: Sql | None = None
    began: Sql | None = None
    held_by: Sql | None = None
    common: Sql | None = None
    keeps_claims_of_the_dead: bool = False
    needs: Texts = ()
    lacks: Texts = ()
    versions: Text = ""
    words: dict[Short, Sql] = Field(default={}, max_length=_MOST)

    def fits(self, columns: Mapping[str, Mapping[str, object]]) -> bool:
        """Whether tables with these columns, by the tables' short names, have this form."""
        return all(_has(columns, name) for name in self.needs) and not any(_has(columns, name) for name in self.lacks)

    def can_tell_stale(self) -> bool:
        return self.claimed_at is not None or any(
            "{stale}" in text for text in (self.alive or "", *self.ready, *self.processing)
        )

    def sql(self) -> Iterator[tuple[Path, str]]:
        """Each piece of SQL, by its key."""
        for arm in ARMS:
            parts: tuple[str, ...] = getattr(self, arm)
            yield from ((_key(arm, index, parts), part) for index, part in enumerate(parts))
        for key in _EXPRESSIONS:
            text: str | None = getattr(self, key)
            if text is not None:
                yield (key,), text


def _key(arm: str, index: int, parts: tuple[str, ...]) -> Path:
    """Of a part, as it is written: a single one is no list."""
    return (arm, index) if len(parts) > 1 else (arm,)


def _has(columns: Mapping[str, Mapping[str, object]], name: str) -> bool:
    table, _, column = name.partition(".")
    return column in columns.get(table, {}) if column else bool(columns.get(table))


class Preset(Part):
    """What is known of one queue library.

    name: how a policy names it; of a user's own, the file's absolute path. tested: "library" where our tests run its
    own migration, client and worker, "schema" where they only have its published tables. versions: which ones. schema:
    where its tables are by default ("": wherever the search path says). prefix: what its tables' names begin with by
    default. tables: short name → name, with {prefix}, and with {queue} where each queue has tables of its own; jobs are
    inserted into the first. queue_column: the expression that `queues` filters by; queue_is: what the library calls a
    queue. wakes: its NOTIFY channels, with {schema}, {prefix}, {queue} or {schema_sha224}; wakes_when: what to know of
    them. stale_after: seconds after which a claim without a sign of life is stale, or ready again. indexes: SQL to
    suggest where its own indexes do not suffice. notes: what a user must know. forms: the shapes that its tables had in
    its versions; the first one that fits is used.
    """

    model_config = ConfigDict(defer_build=True)  # built with the first preset: most controllers read none

    hints: ClassVar[Mapping[str, str]] = {"table": "write [tables]", "form": "write [[forms]]"}
    name: str = ""
    library: Text = "a queue of your own"
    language: Text = "SQL"
    tested: Literal["library", "schema"] | None = None
    versions: Text = ""
    schema_name: Prefix = Field(default="", alias="schema")
    prefix: Prefix = ""
    tables: dict[Short, Short] = Field(max_length=_MOST)
    queue_column: Sql | None = None
    queue_is: Text = "queue"
    wakes: Texts = ()
    wakes_when: Text = ""
    stale_after: Annotated[float, Field(gt=0, le=31 * 24 * 3600)] | None = None
    indexes: Texts = ()
    notes: Texts = ()
    forms: tuple[Form, ...] = Field(max_length=_MOST)

    @property
    def needs_queues(self) -> bool:
        """Whether each queue has tables of its own, so that a policy has to name them."""
        return any("{queue}" in name for name in self.tables.values())

    @property
    def tells_soon(self) -> bool:
        """Whether in any of its versions a scheduled job shows that it falls due soon."""
        return any(form.soon is not None for form in self.forms)


class Presets(Protocol):
    """Where a policy's `preset:` is looked up; the policy itself reads no file."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of those that ship, sorted."""

    def load(self, name: str) -> Preset:
        """By its name, or for a file of the user's own by its path.

        Raises:
            ConfigurationError: there is none, or it is wrong.
        """


def is_own(name: str) -> bool:
    """Whether a policy's `preset:` is the path of a file, and not the name of a preset that ships."""
    return "/" in name or name.endswith(".toml")


def read_preset(text: str, *, name: str, place: str) -> Preset:
    """The preset of a file. place: how the file is called in what is wrong with it.

    Raises:
        ConfigurationError: with everything that is wrong, each with its line, key and fix.
    """
    document = Document(place)
    document.data = _parsed(text, document)
    document.origins = dict(_origins(text))
    if "name" in document.data:
        document.refuse(("name",), "is not a key: the file's own name is the preset's; leave it out")
        del document.data["name"]
    preset: Preset | None = None
    try:
        preset = Preset.model_validate({**document.data, "name": name})
    except ValidationError as error:
        for details in error.errors(include_url=False):
            record(document, details, keys_at(Preset))
    if preset is not None:
        speller = _Speller(document)
        forms = tuple(speller.form(form, ("forms", index)) for index, form in enumerate(preset.forms))
        preset = preset.model_copy(update={"forms": forms})
        for path, problem in _problems(preset):
            if not document.is_broken(path):
                document.refuse(path, problem)
    if document.problems or preset is None:
        raise ConfigurationError(document.problems)
    return preset


def _parsed(text: str, document: Document) -> dict[str, Any]:
    if len(text) > MOST_CHARACTERS:
        words = f"is longer than {MOST_CHARACTERS:,} characters, which no preset is; name the right file"
        raise document.refusal(words)
    # A dotted key of n parts takes tomllib n² steps: minutes for one that fills the file.
    if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
        raise document.refusal(f"has a line with more than {_MOST_DOTS} dots; break it into several")
    import tomllib  # noqa: PLC0415  # `run` with a table of its own reads no preset, and pays for each import

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise document.refusal("is nested too deeply, which no preset is; name the right file") from None
    except ValueError as error:
        raise document.refusal(f"is not TOML: {error}") from None


_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")


def _origins(text: str) -> Iterator[tuple[Path, Origin]]:
    """The line of each table and key, as far as a file is written plainly, one key a line."""
    yield (), Origin(1)
    path: Path = ()
    counts: dict[str, int] = {}
    is_inside = False
    for number, line in enumerate(text.split("\n"), 1):
        if not is_inside:
            if header := _HEADER.match(line):
                first, *rest = header[2].split(".")
                if header[1] == "[[":
                    counts[first] = counts.get(first, -1) + 1
                path = (first, *((counts[first],) if first in counts else ()), *rest)
                yield path, Origin(number)
            elif key := _KEY.match(line):
                yield (*path, key[1]), Origin(number)
        if (line.count('"""') + line.count("'''")) % 2:
            is_inside = not is_inside


class _Speller:
    """Replaces each {word} by its condition, within bounds: a few words could spell out more than memory holds."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._spelled = 0

    def form(self, form: Form, at: Path) -> Form:
        words: dict[str, str] = {}
        for word, condition in form.words.items():
            here = (*at, "words", word)
            problem = fragment_problem(condition)
            if problem is not None:
                self._document.refuse(here, problem)
            words[word] = f"({self._text(condition, words, here)})"
        told: dict[str, Any] = {}
        for arm in ARMS:
            parts = getattr(form, arm)
            told[arm] = tuple(
                self._text(part, words, (*at, *_key(arm, index, parts))) for index, part in enumerate(parts)
            )
        for key in _EXPRESSIONS:
            text = getattr(form, key)
            told[key] = None if text is None else self._text(text, words, (*at, key))
        return form.model_copy(update=told)

    def _text(self, text: str, words: Mapping[str, str], path: Path) -> str:
        length = len(text) + sum(len(words[one]) - len(one) for one in _PLACEHOLDER.findall(text) if one in words)
        self._spelled += length
        if self._spelled > _MOST_SPELLED:
            raise self._document.refusal(f"is longer than {_MOST_SPELLED:,} characters once its words are spelled out")
        if length > LONGEST_SQL:
            self._document.refuse(path, f"is longer than {LONGEST_SQL:,} characters once its words are spelled out")
            return text
        return _PLACEHOLDER.sub(lambda found: words.get(found[1], found[0]), text)


def _problems(preset: Preset) -> Iterator[tuple[Path, str]]:
    """What the models cannot see: whether each {name} stands for something, and whether the SQL can be put together."""
    if not preset.tables:
        yield ("tables",), 'is empty; write at least one, such as jobs = "job"'
    if not preset.forms:
        yield ("forms",), "is empty; write [[forms]] with ready and processing"
    for short, table in preset.tables.items():
        if short in {*_OF_SQL, "ready", "ahead"} or not _PLACEHOLDER.fullmatch(f"{{{short}}}"):
            yield ("tables", short), "cannot be a table's short name; write one in a-z, 0-9 and _, such as jobs"
        yield from _unknown(table, _OF_NAMES, ("tables", short))
    for index, channel in enumerate(preset.wakes):
        yield from _unknown(channel, _OF_CHANNELS, ("wakes", index))
    known = {*preset.tables, *_OF_SQL}
    if preset.queue_column is not None:
        yield from _sql_problems(preset.queue_column, known, ("queue_column",))
    for index, form in enumerate(preset.forms):
        for path, problem in _form_problems(form, preset, known):
            yield ("forms", index, *path), problem


def _form_problems(form: Form, preset: Preset, known: Collection[str]) -> Iterator[tuple[Path, str]]:
    for path, text in form.sql():
        yield from _sql_problems(text, {*known, *_OF_KEY.get(path, ())}, path, also=form.words)
        if path[0] in ARMS:
            yield from _part_problems(text, path)
        if "{stale}" in text and path != ("alive",) and preset.stale_after is None:
            yield path, "uses {stale}, and the preset has no stale_after; write stale_after = 900 above [tables]"
    if form.soon is not None and not form.scheduled:
        yield ("soon",), "has no effect without scheduled, which it is a condition on; write scheduled, or leave it out"
    elif form.soon is not None and "{ahead}" not in form.soon:
        yield ("soon",), "does not use {ahead}; write for example j.run_at <= now() + {ahead}"
    for key in ("needs", "lacks"):
        for position, need in enumerate(getattr(form, key)):
            if need.partition(".")[0] not in preset.tables:
                example = next(iter(preset.tables))
                yield (key, position), f"names no table of [tables]; write TABLE.COLUMN, such as {example}.id"


def _unknown(text: str, known: Collection[str], path: Path, also: Collection[str] = ()) -> Iterator[tuple[Path, str]]:
    """also: words, which are known too, and gone wherever they could be spelled out."""
    for name in dict.fromkeys(_PLACEHOLDER.findall(text)):
        shown = f"{{{name[: bounds.VALUE]}}}"
        if name in also:
            yield path, f"uses {shown} before it is defined; a word may only use words defined above it"
        elif name not in known:
            every = ", ".join(f"{{{one}}}" for one in sorted({*known, *also}))
            yield path, f"uses {shown}, which is not defined; known here are {every}"


def _sql_problems(
    text: str, known: Collection[str], path: Path, also: Collection[str] = ()
) -> Iterator[tuple[Path, str]]:
    problem = fragment_problem(text)
    if problem is not None:
        yield path, problem
    yield from _unknown(text, known, path, also)


_ALIAS = re.compile(r"\bj\b")
_WHERE = re.compile(r"\bwhere\b", re.IGNORECASE)


def _part_problems(part: str, path: Path) -> Iterator[tuple[Path, str]]:
    if not _ALIAS.search(part):
        yield path, "has no row j; write what follows FROM, such as {jobs} j WHERE j.status = 'ready'"
    elif not _WHERE.search(part):
        yield path, "has no WHERE; write WHERE true if every row counts"
