"""A Place builds the statements that read a Form's jobs in one database, with bounded counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from controller.policy import Form

_PLACEHOLDER = re.compile(r"\{([a-z_0-9]+)\}")
_MOST_HELD = 1_000
"""Jobs in progress whose holders are read; of more, it is unknown who holds them."""
_LONGEST_HOLDER = 200


@dataclass(frozen=True, slots=True)
class Place:
    """A form with the names of one database; it builds the statements.

    tables: the table for each {name}; several sets if each queue has its own tables. queues: the queue names to filter
    by, in the expression queue_column. stale_after: seconds; None if neither the library nor the policy sets a limit.
    stale_is_set: the policy sets it, not the library. fixed: replacements for other {words} of the form. {first_queue}
    is the first of the queues, for rows without a queue, which belong to any.
    """

    form: Form
    tables: tuple[Mapping[str, sql.Identifier], ...]
    queue_column: str | None = None
    queues: tuple[str, ...] = ()
    stale_after: float | None = None
    stale_is_set: bool = False
    fixed: Mapping[str, sql.Composable] = field(default_factory=dict)

    def depth(
        self, limit: int, claimed: int | None = None, ahead_s: float = 0.0, *, holders: bool = False
    ) -> sql.Composed:
        """One row: pending, age of the oldest ready job in seconds, processing, stale, soon; NULL: unknown.

        Counts stop at `limit`, those of claimed jobs at `claimed` if given. If pending reaches it, the age is that of
        the oldest job counted. soon: scheduled jobs that are due within ahead_s seconds; NULL if that is 0. holders:
        asks for one column more, an array of those who hold the processing jobs; NULL: unknown, or too many.
        """
        claimed = limit if claimed is None else claimed
        form = self.form
        alive = self._alive()
        live = [] if alive is None else [sql.SQL("coalesce({}, false)").format(alive)]
        dead = [] if alive is None else [sql.SQL("NOT coalesce({}, false)").format(alive)]
        # If the claim of a dead worker never ends, stale jobs cannot be told from running ones: their number is NULL.
        none = sql.SQL("SELECT 0 AS counted" if self.detects_dead_workers else "SELECT NULL::bigint AS counted")
        since = sql.SQL("NULL::timestamptz") if form.since is None else self._sql(form.since, self.tables[0])
        age: sql.Composable = sql.SQL("CASE WHEN isfinite(min(since)) THEN extract(epoch FROM now() - min(since)) END")
        if form.oldest is not None:
            names = {**self.tables[0], "ready": self._rows(form.ready, sql.SQL("j.*"), ())}
            age = sql.SQL("({})::float8").format(self._sql(form.oldest, names))
        return sql.SQL(
            "{common}SELECT r.counted AS pending, r.age AS oldest_age, p.counted AS processing, s.counted AS stale, "
            "({soon}) AS soon{holders} "
            "FROM (SELECT count(*) AS counted, {age} AS age FROM ({ready} LIMIT {limit}) AS a) AS r, "
            "(SELECT count(*) AS counted FROM ({processing} LIMIT {claimed}) AS b) AS p, "
            "({stale}) AS s"
        ).format(
            common=self._common(),
            age=age,
            ready=self._rows(form.ready, sql.SQL("{} AS since").format(since), ()),
            processing=self._rows(form.processing, sql.SQL("1"), live),
            stale=self._count(form.processing, dead, claimed) if dead else none,
            soon=self._soon(ahead_s, limit),
            holders=self._holders(live) if holders else sql.SQL(""),
            limit=limit,
            claimed=claimed,
        )

    def rest(self, limit: int) -> sql.Composed:
        """One row: scheduled and failed; NULL if the library keeps no such jobs."""
        return sql.SQL("{common}SELECT ({scheduled}) AS scheduled, ({failed}) AS failed").format(
            common=self._common(),
            scheduled=self._count(self.form.scheduled, (), limit) if self.form.scheduled else sql.SQL("NULL"),
            failed=self._count(self.form.failed, (), limit) if self.form.failed else sql.SQL("NULL"),
        )

    def rows(self, arm: str, what: str) -> sql.Composed:
        """One row for each job in the arm. what: the SQL expression over j to select."""
        selected = self._sql(what, self.tables[0])
        return sql.SQL("{}{}").format(self._common(), self._rows(getattr(self.form, arm), selected, ()))

    def longest_claim(self, limit: int) -> sql.Composed | None:
        """One row: seconds since the oldest running job began; None if the form has no such time.

        Jobs that began more than 24 h ago are left out: their worker is probably dead.
        """
        text = self.form.began or self.form.claimed_at
        if text is None:
            return None
        alive = self._alive()
        live = [] if alive is None else [alive]
        began = sql.SQL("{} AS began").format(self._sql(text, self.tables[0]))
        return sql.SQL(
            "{common}SELECT extract(epoch FROM now() - min(began)) FROM ({rows} LIMIT {limit}) AS b "
            "WHERE began BETWEEN now() - interval '24 h' AND now()"
        ).format(common=self._common(), rows=self._rows(self.form.processing, began, live), limit=limit)

    @property
    def detects_dead_workers(self) -> bool:
        """Whether the claim of a dead worker ends: by a missing heartbeat, or by stale_after."""
        return not self.form.keeps_claims_of_the_dead or self._alive() is not None

    def old_claims(self, older_than_s: float, limit: int, instead: sql.Composable | None = None) -> sql.Composed | None:
        """One row: the number of claims older than that, and the age of the oldest in seconds.

        None if the claim of a dead worker ends anyway, or if the form has no time of the claim. instead: an expression
        to take for that time.
        """
        text = self.form.began or self.form.claimed_at
        time = instead if instead is not None else None if text is None else self._sql(text, self.tables[0])
        if time is None or self.detects_dead_workers:
            return None
        began = sql.SQL("{} AS began").format(time)
        return sql.SQL(
            "{common}SELECT count(*), extract(epoch FROM now() - min(began))::float8 FROM ({rows} LIMIT {limit}) AS b "
            "WHERE isfinite(began) AND began < now() - make_interval(secs => {old})"
        ).format(
            common=self._common(),
            rows=self._rows(self.form.processing, began, ()),
            limit=limit,
            old=sql.Literal(older_than_s),
        )

    def claims_with_null(self, column: sql.Composable, limit: int) -> sql.Composed:
        """One row: the number of claimed jobs with NULL in that column, counted up to `limit`."""
        is_null = [sql.SQL("{} IS NULL").format(column)]
        return sql.SQL("{}{}").format(self._common(), self._count(self.form.processing, is_null, limit))

    @property
    def can_tell_soon(self) -> bool:
        """Whether the form knows when a scheduled job falls due."""
        return self.form.soon is not None

    def _soon(self, ahead_s: float, limit: int) -> sql.Composable:
        """The query of one number; in the same statement as ready, so that a job is never in both or in neither."""
        form = self.form
        if not ahead_s or form.soon is None or not form.scheduled:
            return sql.SQL("SELECT NULL::bigint")
        ahead = sql.SQL("make_interval(secs => {})").format(sql.Literal(ahead_s))
        near = self._sql(form.soon, {**self.tables[0], "ahead": ahead})
        return self._count(form.scheduled, [sql.SQL("({})").format(near)], limit)

    def _holders(self, live: Sequence[sql.Composable]) -> sql.Composable:
        """One column more, in the same statement, so that it is about the jobs that are counted."""
        form = self.form
        if form.held_by is None:
            return sql.SQL(", NULL::text[] AS holders")
        name = sql.SQL("left(({})::text, {})").format(self._sql(form.held_by, self.tables[0]), _LONGEST_HOLDER)
        return sql.SQL(
            ", (SELECT CASE WHEN count(*) < {most} THEN "
            "coalesce(array_agg(DISTINCT coalesce(h.holder, '')), '{{}}') END "
            "FROM ({rows} LIMIT {most}) AS h) AS holders"
        ).format(rows=self._rows(form.processing, sql.SQL("{} AS holder").format(name), live), most=_MOST_HELD)

    def _common(self) -> sql.Composable:
        if self.form.common is None:
            return sql.SQL("")
        return sql.SQL("WITH {} ").format(self._sql(self.form.common, self.tables[0]))

    def _count(self, parts: Sequence[str], conditions: Sequence[sql.Composable], limit: int) -> sql.Composed:
        rows = self._rows(parts, sql.SQL("1"), conditions)
        return sql.SQL("SELECT count(*) AS counted FROM ({} LIMIT {}) AS c").format(rows, limit)

    def _rows(self, parts: Sequence[str], what: sql.Composable, conditions: Sequence[sql.Composable]) -> sql.Composed:
        """UNION ALL over the parts and, if each queue has its own tables, over the queues."""
        every = list(conditions)
        if self.queues and self.queue_column is not None:
            names = sql.SQL(", ").join(map(sql.Literal, self.queues))
            every.append(sql.SQL("{} IN ({})").format(self._sql(self.queue_column, self.tables[0]), names))
        arms = [
            sql.SQL(" AND ").join([sql.SQL("SELECT {} FROM {}").format(what, self._sql(part, tables)), *every])
            for tables in self.tables
            for part in parts
        ]
        return sql.SQL(" UNION ALL ").join(arms)

    def _alive(self) -> sql.Composed | None:
        """The condition that the worker of a processing job lives; None if the form cannot tell."""
        form = self.form
        conditions: list[str] = []
        if form.alive is not None and (self.stale_after is not None or "{stale}" not in form.alive):
            conditions.append(form.alive)
        if self.stale_is_set and form.claimed_at is not None and "{stale}" not in (form.alive or ""):
            conditions.append(f"{form.claimed_at} > now() - {{stale}}")
        if not conditions:
            return None
        return sql.SQL(" AND ").join(sql.SQL("({})").format(self._sql(text, self.tables[0])) for text in conditions)

    def _sql(self, text: str, tables: Mapping[str, sql.Composable]) -> sql.Composed:
        stale = sql.SQL("make_interval(secs => {})").format(sql.Literal(self.stale_after or 0))
        known = {"first_queue": sql.Literal(next(iter(self.queues), "")), **self.fixed, "stale": stale, **tables}
        pieces: list[sql.Composable] = []
        for index, piece in enumerate(_PLACEHOLDER.split(text)):
            pieces.append(known[piece] if index % 2 else sql.SQL(piece))
        return sql.Composed(pieces)
