"""Show that the present code measures the numbers of records.json, bit for bit, locally and on Ray.

    python tests/compatibility/same_numbers.py      # both; a minute and a half on one core
    python tests/compatibility/same_numbers.py --only local

It runs before.toml into a new store and compares status, metrics and curve of every record; ids,
seconds and provenance may differ. The exit code is 1 where a number differs. Floating-point sums
depend on the processor's vector instructions and on the versions of torch and numpy, so on another
kind of processor, or with other versions than records.json names, differences say nothing. After a
change that is meant to change numbers, ``--write`` keeps what the local run measured as the new
records.json. pytest does not collect this file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SPEC = HERE / "before.toml"
RECORDS = HERE / "records.json"
SWEEP = "before"
EXECUTORS = {"local": ["--local"], "ray": []}
Row = dict[str, Any]


def measured(url: str) -> list[Row]:
    """What a store holds of the sweep, in the plan's order, without what may differ from run to
    run.
    """
    from results.store import Store  # noqa: PLC0415  (the path is set by then)

    with Store.read(url) as store:
        records = store.records(SWEEP)
    return [
        {
            "id": r.trial.id,
            "game": r.trial.game.name,
            "status": r.status,
            "metrics": dict(sorted(r.metrics.items())),
            "curve": [[p.step, p.cda, p.asr, dict(sorted(p.extra.items()))] for p in r.curve],
        }
        for r in records
    ]


def differences(wanted: Sequence[Row], found: Sequence[Row]) -> list[str]:
    """A line for each record of ``wanted`` without its equal in ``found``, and for each that is in
    ``found`` alone.

    Records are equal if all but their ids is; those with equal ids are compared first.
    """
    by_id = {row["id"]: row for row in found}
    missing = [row for row in wanted if row["id"] not in by_id]
    wanted_ids = {row["id"] for row in wanted}
    unknown = [row for row in found if row["id"] not in wanted_ids]
    lines = [
        line for row in wanted if row["id"] in by_id for line in _compared(row, by_id[row["id"]])
    ]
    contents = [_content(row) for row in unknown]
    for row in missing:
        if (content := _content(row)) in contents:
            contents.remove(content)
        else:
            lines.append(f"{row['id']} ({row['game']}): no record has its numbers")
    return lines + [f"{len(contents)} records are new"] * bool(contents)


def _content(row: Row) -> str:
    return json.dumps({k: v for k, v in row.items() if k != "id"}, sort_keys=True)


def _compared(wanted: Row, found: Row) -> Iterable[str]:
    start = f"{wanted['id']} ({wanted['game']})"
    if _content(wanted) == _content(found):
        return
    for name in sorted({*wanted["metrics"], *found["metrics"]}):
        was, now = wanted["metrics"].get(name), found["metrics"].get(name)
        if was != now:
            yield f"{start}: {name} was {was!r}, is {now!r}"
    for part in ("game", "status", "curve"):
        if wanted[part] != found[part]:
            yield f"{start}: {part} was {wanted[part]}, is {found[part]}"


def read() -> tuple[dict[str, str], list[Row]]:
    """Versions and kind of processor that measured records.json, and its records."""
    data = json.loads(RECORDS.read_text(encoding="utf-8"))
    return data["made_with"], data["records"]


def write(rows: Sequence[Row]) -> None:
    """Records, one a line; a float's text is the shortest that is read as the same float."""
    lines = ",\n".join(json.dumps(row) for row in rows)
    RECORDS.write_text(
        f'{{"made_with": {json.dumps(made_with())},\n"records": [\n{lines}\n]}}\n', encoding="utf-8"
    )


def made_with() -> dict[str, str]:
    """What numbers depend on beside the code."""
    import numpy  # noqa: PLC0415
    import optuna  # noqa: PLC0415
    import torch  # noqa: PLC0415

    versions = {
        "numpy": numpy.__version__,
        "optuna": optuna.__version__,
        "torch": torch.__version__,
    }
    return {**versions, "processor": torch.backends.cpu.get_cpu_capability()}


def run(executor: str, folder: Path) -> list[Row]:
    """Run the sweep into a new store in ``folder``."""
    url = f"sqlite:///{folder}/{executor}/store.db"
    words = [
        sys.executable,
        "-m",
        "poisonsweep",
        "run",
        str(SPEC),
        "--store",
        url,
        *EXECUTORS[executor],
    ]
    subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return measured(url)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=EXECUTORS, help="run with one of the two")
    parser.add_argument(
        "--write", action="store_true", help="keep what the local run measured as records.json"
    )
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if given.write:
        with tempfile.TemporaryDirectory() as folder:
            write(run("local", Path(folder)))
        return 0
    with_what, wanted = read()
    if made_with() != with_what:
        print(
            f"records.json was measured with {with_what}, this is {made_with()}: "
            f"numbers may differ for that reason"
        )
    found = []
    for executor in [given.only] if given.only else EXECUTORS:
        with tempfile.TemporaryDirectory() as folder:
            lines = differences(wanted, run(executor, Path(folder)))
        print(f"{executor}: {len(wanted)} records, {len(lines)} differences", *lines, sep="\n  ")
        found += lines
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
