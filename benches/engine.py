#!/usr/bin/env python3
"""The engine against DuckDB and polars computing the same columns without privacy.

    engine.py [--payments 10000000] [--rounds 3] [--jobs market,merchants,both]
              [--contestants discretail,duckdb,polars] [--folder /tmp/discretail-bench]

Whole processes, one after the other, all contestants in each round; prints medians of wall and CPU
seconds and of peak memory, and their ratios to DuckDB. Makes the payments first. Needs the packages
duckdb and polars, `cargo build --release`, and 2 GB of disk for each 100 million payments.

The job `both` has five levels: region; region and category; those by week; merchant; merchant by
week. `market` has the first three, `merchants` the last two. Each level has customers, payments, sales and
16 ticket bins. Contestants: discretail-2GiB is discretail with `--memory 2GiB`; discretail-customers
asks for customers alone, discretail-all-but-histogram for all but the histogram.
"""

import argparse
import datetime
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HOME = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HOME / "target"))
BINARY = TARGET / "release" / "discretail"

LEVELS = {
    "market": [["region"], ["region", "category"], ["region", "category", "week"]],
    "merchants": [["merchant"], ["merchant", "week"]],
}
BOUNDS = {"customers": 3, "payments": 10, "sales": 1500, "ticket_histogram": 10}
# The product's default edges, in minor units, as the made-up amounts are.
EDGES = [10**power * m for power in range(2, 7) for m in (1, 2, 5)]
BINS = list(zip([0, *EDGES], [*EDGES, 2**62]))
TIMEZONE = "Asia/Shanghai"
FIRST_DAY, LAST_DAY = "2025-01-01", "2025-03-31"


def reports(job):
    return {name: LEVELS[name] for name in LEVELS if job in (name, "both")}


def levels(job):
    return [level for report in reports(job).values() for level in report]


def job_file(folder, data, job, insights):
    """Writes the job; returns its path."""
    text = f"""version = 1
job = "{job}"
recipient = "bench"
releases = "{folder}/releases"
[payments]
files = ["{data}/payments/*.parquet"]
where = "currency = 'CNY'"
timezone = "{TIMEZONE}"
first_day = {FIRST_DAY}
last_day = {LAST_DAY}
currency = "CNY"
columns = {{ user = "user_token", merchant = "merchant_id", time = "paid_at", amount = "amount", currency = "currency" }}
quarantine = "{folder}/quarantine"
max_bad_share = "0.05"
[merchants]
files = ["{data}/merchants.parquet"]
[privacy]
unit = "user"
epsilon = "1"
delta = "1e-9"
[ledger]
file = "{folder}/ledger.sqlite"
population = "made-up"
epsilon_max = "4"
delta_max = "1e-8"
"""
    bounds = ", ".join(f'{name} = "{BOUNDS[name]}"' for name in insights)
    names = ", ".join(f'"{name}"' for name in insights)
    for name, its_levels in reports(job).items():
        shown = ", ".join("[" + ", ".join(f'"{k}"' for k in level) + "]" for level in its_levels)
        text += f'[[report]]\nname = "{name}"\nkeys = "public"\nlevels = [{shown}]\n'
        text += f"insights = [{names}]\nbounds = {{ {bounds} }}\n"
    path = folder / "job.toml"
    path.write_text(text)
    return path


def discretail(folder, data, job, arguments=(), insights=tuple(BOUNDS)):
    path = job_file(folder, data, job, insights)
    return [str(BINARY), "run", str(path), *arguments]


def peer(name):
    def command(folder, data, job):
        return [sys.executable, __file__, f"--run-{name}", str(folder), str(data), job]

    return command


CONTESTANTS = {
    "discretail": discretail,
    "discretail-2GiB": lambda f, d, j: discretail(f, d, j, ["--memory", "2GiB"]),
    "discretail-customers": lambda f, d, j: discretail(f, d, j, insights=("customers",)),
    "discretail-all-but-histogram": lambda f, d, j: discretail(
        f, d, j, insights=("customers", "payments", "sales")
    ),
    "duckdb": peer("duckdb"),
    "polars": peer("polars"),
}


def run_duckdb(folder, data, job):
    """One GROUP BY a level, each from the files to a Parquet file."""
    import duckdb

    base = duckdb.connect()
    base.execute(f"SET TimeZone = '{TIMEZONE}'")
    base.execute(f"SET temp_directory = '{folder}/duckdb'")
    bins = (
        f"count(*) FILTER (amount >= {low} AND amount < {high}) AS bin_{i}"
        for i, (low, high) in enumerate(BINS)
    )
    histogram = ", ".join(bins)
    payments = f"""
        SELECT user_token, amount, p.merchant_id AS merchant, m.region, m.category,
               date_trunc('week', paid_at AT TIME ZONE '{TIMEZONE}') AS week
        FROM '{data}/payments/*.parquet' p JOIN '{data}/merchants.parquet' m USING (merchant_id)
        WHERE currency = 'CNY' AND user_token IS NOT NULL
          AND CAST(paid_at AT TIME ZONE '{TIMEZONE}' AS DATE) BETWEEN '{FIRST_DAY}' AND '{LAST_DAY}'"""
    for level in levels(job):
        keys = ", ".join(level)
        base.execute(f"""
            COPY (SELECT {keys}, count(DISTINCT user_token) AS customers,
                         count(*) FILTER (amount >= 0) AS payments, sum(amount) AS sales, {histogram}
                  FROM ({payments}) GROUP BY {keys})
            TO '{folder}/{"-".join(level)}.parquet' (FORMAT parquet)""")


def run_polars(folder, data, job):
    """The same with polars' streaming engine."""
    import polars as pl

    amount = pl.col("amount")
    aggregates = [
        pl.col("user_token").n_unique().alias("customers"),
        (amount >= 0).sum().alias("payments"),
        amount.sum().alias("sales"),
        *(amount.is_between(low, high, closed="left").sum().alias(f"bin_{i}") for i, (low, high) in enumerate(BINS)),
    ]
    local = pl.col("paid_at").dt.convert_time_zone(TIMEZONE)
    day = local.dt.date()
    first, last = (datetime.date.fromisoformat(d) for d in (FIRST_DAY, LAST_DAY))
    payments = (
        pl.scan_parquet(f"{data}/payments/*.parquet")
        .filter(pl.col("currency") == "CNY", pl.col("user_token").is_not_null(), day.is_between(first, last))
        .join(pl.scan_parquet(f"{data}/merchants.parquet"), on="merchant_id")
        .select("user_token", "amount", "region", "category", merchant="merchant_id",
                week=local.dt.truncate("1w").dt.date())
    )
    for level in levels(job):
        table = payments.group_by(level).agg(aggregates).collect(engine="streaming")
        table.write_parquet(f"{folder}/{'-'.join(level)}.parquet")


def measure(command, folder):
    """Wall seconds, CPU seconds and peak MB of a whole process."""
    with open(folder / "errors", "w+b") as errors:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        if status != 0:
            errors.seek(0)
            sys.exit(f"{' '.join(command)}\n{errors.read().decode()}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--payments", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", default="market,merchants,both")
    parser.add_argument("--contestants", default="discretail,duckdb,polars")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/discretail-bench"))
    options = parser.parse_args()

    data = options.folder / str(options.payments)
    if not data.exists():
        data.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([BINARY, "sample", data, "--payments", str(options.payments)], check=True)
    jobs, contestants = options.jobs.split(","), options.contestants.split(",")
    results = {(job, name): [] for job in jobs for name in contestants}
    for _ in range(options.rounds):
        for job, name in results:
            # A folder of its own: a job that is done before would only return its release.
            with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
                scratch = pathlib.Path(scratch)
                command = CONTESTANTS[name](scratch, data, job)
                results[job, name].append(measure(command, scratch))
                print(job, name, *(f"{x:.2f}" for x in results[job, name][-1]), file=sys.stderr)

    print(f"{options.payments:,} payments, medians of {options.rounds} rounds\n")
    print("| job | process | wall s | CPU s | peak MB | wall to DuckDB | CPU to DuckDB |")
    print("|---|---|---|---|---|---|---|")
    medians = {key: [statistics.median(x) for x in zip(*runs)] for key, runs in results.items()}
    for (job, name), (wall, cpu, peak) in medians.items():
        base = medians.get((job, "duckdb"))
        ratios = f"{wall / base[0]:.2f} | {cpu / base[1]:.2f}" if base else " | "
        print(f"| {job} | {name} | {wall:.1f} | {cpu:.1f} | {peak:,.0f} | {ratios} |")


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] in ("--run-duckdb", "--run-polars"):
        run = {"--run-duckdb": run_duckdb, "--run-polars": run_polars}[sys.argv[1]]
        run(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4])
    else:
        main()
