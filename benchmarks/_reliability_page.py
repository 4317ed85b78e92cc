"""The page docs/reliability.md from what benchmarks.reliability counted."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

Line = dict[str, Any]
FAILURES = {  # what must not happen: its counter, what it is counted among
    "a finished record lost": ("lost", "records_at_risk"),
    "a finished record changed": ("changed", "records_at_risk"),
    "a finished trial run again": ("twice", "records_at_risk"),
    "a record that differs from the undisturbed sweep's": ("differ", "trials"),
    "a process left behind": ("stale", "runs"),
    "a store that SQLite's own check finds damaged": ("damaged", "runs"),
}
UNITS = {"records_at_risk": "records, summed over the kills", "trials": "records", "runs": "runs"}


def bound(kills: int) -> float:
    """One-sided 95 % upper bound of the rate of what was never seen: exact, nearly the rule of
    three.
    """
    return float(1 - 0.05 ** (1 / kills))


def kill_rows(lines: Sequence[Line]) -> list[str]:
    """One row a kind of driver and store."""
    rows = []
    for x in lines:
        counts = {words: x["killed_at_" + moment] for moment, words in MOMENTS.items()}
        at = ", ".join(f"{count} {words}" for words, count in counts.items())
        numbers = [x[k] for k in ("whole_group", "sweeps", "executions", "cut_short", "seed")]
        cells = [x["what"], x["kills"], at, *numbers, f"{x['took'] / 60:.0f} min"]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return rows


MOMENTS = {
    "start": "starting up",
    "trial": "in a trial",
    "commit": "at a commit",
    "end": "at the end",
}


def loss_rows(lines: Sequence[Line]) -> list[str]:
    """One row a thing that must not happen, over all kills."""
    rows = []
    for words, (bad, of) in FAILURES.items():
        some = [x for x in lines if bad != "damaged" or "SQLite" in x["what"]]
        seen, among = sum(x[bad] for x in some), sum(x[of] for x in some)
        rows.append(f"| {words} | {seen} | {among:,} {UNITS[of]} |")
    return rows


def worker_rows(lines: Sequence[Line]) -> list[str]:
    """One row an executor, and one for a node."""
    return [
        f"| {x['what']} | {x['kills']} | {x['started_again']} | {x['executions']} for "
        f"{x['trials']} | {x['differ']} "
        f"| {x['stale']} |"
        for x in lines
    ]


def fault_rows(lines: Sequence[Line]) -> list[str]:
    """One row a fault."""
    return [f"| {x['what']} | {x['faults']} | {ANSWERS[x['test'].split('[')[0]]} |" for x in lines]


def hostile_rows(tally: dict[str, Any]) -> list[str]:
    """One row a kind of input, and all of them."""
    kinds: dict[str, dict[str, int]] = tally.get("kinds", {})
    columns = ("tried", *VERDICTS)
    every: Counter[str] = Counter()
    for row in kinds.values():
        every.update(row)
    lines = []
    for name, row in [*kinds.items(), ("**all**", every)] if kinds else []:
        cells = [f"{row.get(c, 0):,}" for c in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


VERDICTS = ("refused", "contained", "accepted", "crashed")  # as tests/counting.py counts them
ANSWERS = {
    "test_each_fault_costs_one_failed_record_and_no_more": "one failed record each, with its "
    "traceback or exit "
    "code; the other trials give what they give without them",
    "test_a_trial_that_hangs_is_ended_at_its_time_limit": "ended at its time limit, one failed "
    "record",
    "test_a_damaged_artifact_is_never_used": "the trial that needs it fails and names it; after "
    "it is deleted, "
    "`--retry-failed` makes it anew and gives the same records",
    "test_a_full_disk_fails_what_needs_it_and_loses_nothing": "one failed record (ENOSPC), what "
    "needs it waits; with "
    "space again, `--retry-failed` gives the same records",
    "test_a_store_on_a_full_disk_loses_nothing": "the sweep waits for `outage` seconds, then ends "
    "with one line and "
    "exit code 2; with space again the same command goes on, and takes up what workers had "
    "finished",
    "test_a_sweep_waits_for_a_database_that_is_started_again": "the sweep waits and goes on; the "
    "same records",
}
TEXT = """# What a kill costs

Sweeps take days, machines go down. So the tests kill real sweeps (`poisonsweep run`, real digits,
two convolutions, some 34 trials) with SIGKILL, at moments drawn at random from their whole life,
start them again, and count. Drivers, workers and Ray are started
as users start them; one test has them on two nodes in two networks ([cluster.md](cluster.md)).

<!-- not run: a benchmark of minutes; tests/test_benchmarks.py runs it with --tiny -->
```bash
python -m benchmarks.reliability --rounds 100 --only test_a_driver_killed   # the many kills
python -m benchmarks.reliability                    # everything, 20 rounds: some 15 minutes
```

## The driver is killed

| what | kills | when | workers too | sweeps completed | trials started | cut short | seed | took |
|---|--:|---|--:|--:|--:|--:|--:|--:|
{kills}

After each kill, when all processes are gone, every record is noted that is in the store or that a
worker has put on disk for it. It must be there after every later run, unchanged to the last byte,
and its trial may not be started again, by the event logs that the workers keep. The completed
sweep's records must be those of a sweep that nobody killed, bit for bit (times and provenance
excepted). A trial that was in flight is started again: those are the trials cut short.

| what must not happen | seen | of |
|---|--:|--:|
{losses}

With none seen in {number} kills, the chance of one in a kill like these is below {bound:.1%}
(one-sided, at 95 %; about 3/n). What happens to your machines is not drawn like these kills. Ray's
own two helper processes (agents of its dashboard and environments, which run no trial) outlive a
killed driver by about a minute; they are waited for.

One row is of a sweep with two searches (TPE and a Gaussian process), run by one worker: a search
that was killed asks for the same configurations as one that was not. Each ask is seeded by its
number alone and depends on what was told before it; after a stop the search asks again from the
first, and what is stored answers at once. So it is with all four samplers
(tests/sweep/planning/test_search_stops.py stops them at any point, between two seeds of a
configuration too), but not where `seconds` are an objective, which no two runs share. With several
workers or drivers an ask depends on who had finished first, stopped or not: such a search, once it
asks for something else than before, is told of all that is stored, finishes configurations that
lack a seed, and goes on from there. It pays for nothing twice, and for no more than `trials` but
for what other drivers have in flight.

## A worker is killed in a trial, or its node goes

| what | kills | trials started again | trials started | records that differ | processes left |
|---|--:|--:|--:|--:|--:|
{workers}

A worker that had put its record on disk before it died costs no new start. A node is removed by
killing all of its processes at once: Ray's and the worker, which is in the middle of a trial; the
other of two nodes completes the sweep.

## Other faults

| what | faults | what the sweep does |
|---|--:|---|
{faults}

## Hostile input

Specs, checkpoints, images, stores and names that were damaged or made to do harm go through the
real commands; each must end in success, or in one line and exit code 2, in bounded memory and time,
with no file outside the output folder ([SECURITY.md](../SECURITY.md)). Refused and accepted are
both right. Contained: the file ended the process that is started to open it, by a signal or an
error that nobody caught, and the command itself refused the file in one line. Crashed is anything
else.

| input | tried | refused | contained | accepted | crashed |
|---|--:|--:|--:|--:|--:|
{hostile}

{inputs}

The test suite holds all of this at 10 kills of a driver and some 1,900 inputs.
`make test-slow` prints for how long any of its chaos and fuzz tests ran (6 minutes on two slow
cores), and fails at fifteen.

Nothing of this is about a power cut: SIGKILL leaves what the operating system has taken to be
written. Figures by {processor}, {cores} cores, with other work beside it; they are in
benchmarks/results/reliability.json, each with the commit that it was measured at.
"""


def render(figures: dict[str, Any]) -> str:
    """The page from the figures."""
    lines: list[Line] = figures["counted"]
    tally: dict[str, Any] = figures.get("hostile", {})
    drivers = [x for x in lines if "records_at_risk" in x]
    number = sum(x["kills"] for x in drivers)
    return TEXT.format(
        number=number,
        bound=bound(number),
        kills="\n".join(kill_rows(drivers)),
        losses="\n".join(loss_rows(drivers)),
        workers="\n".join(worker_rows([x for x in lines if "started_again" in x])),
        faults="\n".join(fault_rows([x for x in lines if "faults" in x])),
        hostile="\n".join(hostile_rows(tally)),
        inputs=f"Profile {tally['profile']}, {tally['took'] / 60:.0f} min."
        if tally
        else "Not measured yet.",
        **{k: figures["machine"][k] for k in ("processor", "cores")},
    )
