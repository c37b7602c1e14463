"""What is read from a query plan, and which index is proposed for it."""

from __future__ import annotations

from typing import Any

import pytest

from controller.doctor.postgres_plan import Scan, conjuncts, read_plan


def scan(rest: str = "", condition: str = "", alias: str = "j", **more: Any) -> Scan:
    known: dict[str, Any] = {"whole": False, "indexes": ("i",), "returned": None, "dropped": None, **more}
    return Scan("public", "job", alias, condition=condition, rest=rest, **known)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("(j.status = 'pending'::text)", ["j.status = 'pending'::text"]),
        ("((j.a = 1) AND (j.b <= now()))", ["(j.a = 1)", "(j.b <= now())"]),
        (
            "((j.a = 'x AND y'::text) AND ((j.b = 1) OR (j.c = 2)))",
            ["(j.a = 'x AND y'::text)", "((j.b = 1) OR (j.c = 2))"],
        ),
        (
            "(j.\"odd ( AND name\" IS NULL) AND (j.a = 'it''s'::text)",
            ['(j."odd ( AND name" IS NULL)', "(j.a = 'it''s'::text)"],
        ),
    ],
    ids=["no condition", "one condition", "two conditions", "an OR stays whole", "quotes stay whole"],
)
def test_a_condition_is_taken_apart_at_its_ands(text: str, parts: list[str]) -> None:
    assert conjuncts(text) == parts


@pytest.mark.parametrize(
    ("found", "index"),
    [
        (scan("((j.status = 'pending'::text) AND (j.run_at <= now()))"), "(run_at) WHERE (status = 'pending'::text)"),
        (scan("(j.status = 'processing'::job_status)"), "(status) WHERE j.status = 'processing'::job_status"),
        (scan("(j.status = 'pending'::text)", "(j.run_at <= now())"), "(run_at) WHERE j.status = 'pending'::text"),
        (scan('(("Odd".taken IS NULL) AND ("Odd"."At" < now()))', alias="Odd"), '("At") WHERE (taken IS NULL)'),
        (scan("((j.done IS NULL) AND (j.queue = ANY ('{a,b}'::text[])))"), "(queue) WHERE (done IS NULL)"),
        (scan("(timezone('UTC'::text, j.run_at) <= now())"), "(run_at)"),
    ],
    ids=[
        "due jobs",
        "a status that is an enum",
        "an index on the wrong column",
        "quoted names",
        "queues by name",
        "no condition but time",
    ],
)
def test_the_index_for_a_scan_has_what_moves_as_its_column_and_the_rest_as_its_condition(
    found: Scan, index: str
) -> None:
    where = index.replace("WHERE j.", "WHERE ")
    assert found.index() == f'CREATE INDEX CONCURRENTLY ON "public"."job" {where};'


def test_no_index_serves_what_looks_for_nothing() -> None:
    assert scan(whole=True).index() is None


@pytest.mark.parametrize(
    ("found", "wasteful"),
    [
        (scan(whole=True, returned=3, dropped=0), True),
        (scan("(j.status = 'pending'::text)", "(j.run_at <= now())", returned=5, dropped=200_000), True),
        (scan("(j.run_at <= now())", "(j.status = 'pending'::text)", returned=20, dropped=30), False),
        (scan("(j.attempts < j.max_attempts)", returned=101, dropped=0), False),
        (scan("(j.status = 'pending'::text)", "(j.run_at <= now())"), True),
        (scan("(j.run_at <= now())", "(j.status = 'pending'::text)"), False),
    ],
    ids=[
        "a whole table",
        "an index that sorts out nothing",
        "an index that sorts out most",
        "a test that everything passes",
        "not run, and a test that an index could make",
        "not run, and no test that an index could make",
    ],
)
def test_a_scan_is_wasteful_where_it_looks_at_what_it_has_no_need_of(found: Scan, *, wasteful: bool) -> None:
    assert found.is_wasteful() is wasteful


def test_a_bitmap_s_indexes_and_conditions_count_for_its_table() -> None:
    lookup = {"Node Type": "Bitmap Index Scan", "Index Name": "job_status_idx", "Index Cond": "(j.status = 'x'::text)"}
    heap = {"Node Type": "Bitmap Heap Scan", "Relation Name": "job", "Alias": "j", "Schema": "s", "Plans": [lookup]}
    (found,) = read_plan({"Plan": {"Node Type": "Aggregate", "Plans": [heap]}}).scans
    assert (found.name, found.indexes, found.condition) == ('"s"."job"', ("job_status_idx",), "(j.status = 'x'::text)")
