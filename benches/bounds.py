#!/usr/bin/env python3
"""The bounds that a run chooses against the best ones, by the error that both give.

    bounds.py [--seeds 5] [--epsilons 0.3,1,3] [--folder /tmp/discretail-bounds]

Runs jobs whose bounds are open on made-up payments (100,000 users, 3,000 merchants, a month of four
weeks) and on the purchases of Complete Journey, reads the bounds from the manifests, and computes from
the records the expected error of each bound: WAPE = sum over all public cells of E|bias + noise| over
the sum of the exact values. The best bound is the best of 200 on a geometric grid, with the same noise
multiplier. Needs the packages duckdb, numpy and polars, `cargo build --release`, and
`complete_journey.py prepare`.
"""
import argparse
import datetime
import json
import math
import os
import pathlib
import shutil
import subprocess

import numpy as np
import polars as pl

HOME = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HOME / "target"))
BINARY = TARGET / "release" / "discretail"
PURCHASES = HOME / "complete-journey" / "purchases.parquet"
STATISTICS = ("customers", "payments", "sales")

SYNTHETIC = """[payments]
files = ["{folder}/{month}.parquet"]
timezone = "Asia/Shanghai"
first_day = {first_day}
last_day = {last_day}
currency = "CNY"
columns = {{ user = "user_token", merchant = "merchant_id", time = "paid_at", amount = "amount" }}
[merchants]
files = ["{folder}/{sample}/merchants.parquet"]
"""
JOURNEY = """[payments]
files = ["{purchases}"]
timezone = "America/New_York"
times_without_zone = "local"
first_day = {first_day}
last_day = {last_day}
currency = "USD"
columns = {{ user = "household_id", merchant = "store_id", time = "transaction_timestamp", amount = "sales_value", department = "COALESCE(department, 'UNKNOWN')" }}
[merchants]
files = ["{purchases_folder}/stores.parquet"]
id = "store_id"
{keys}
"""
# First and last day of the made-up month and of the one before it; and of a later one with those before,
# the last first. All have four weeks.
MONTHS = {
    "month": (datetime.date(2025, 2, 3), datetime.date(2025, 3, 2)),
    "before": (datetime.date(2025, 1, 6), datetime.date(2025, 2, 2)),
}
FOUR_WEEKS = datetime.timedelta(weeks=4)
LATER = {
    f"later-{n}": tuple(datetime.date(2025, m, d) - n * FOUR_WEEKS for m, d in [(6, 23), (7, 20)])
    for n in range(7)
}
# Of Complete Journey: the year, and its last months of four weeks.
YEAR = {"year": (datetime.date(2017, 1, 1), datetime.date(2018, 1, 1))}
HOUSEHOLDS = {
    f"households-{n}": tuple(datetime.date(2017, 12, d) - n * FOUR_WEEKS for d in (4, 31))
    for n in range(7)
}
# Made-up payments by month: their folder, how many, and days from 2025-01-01 on.
SAMPLES = {month: ("synthetic", 2_450_000, 90) for month in MONTHS}
SAMPLES |= {month: ("later", 5_500_000, 202) for month in LATER}
# Name: payments, keys of the level, delta.
DATA = {
    "merchant x week": (SYNTHETIC, ["merchant", "week"], "1e-9"),
    "category x region x week": (SYNTHETIC, ["category", "region", "week"], "1e-9"),
    "journey department x week": (JOURNEY, ["department", "week"], "1e-6"),
    "journey store x month": (JOURNEY, ["merchant", "month"], "1e-6"),
}


def rows(name, folder, purchases=PURCHASES, month=None):
    """The payments of one data set: user, keys and amount in minor units."""
    payments, keys, _ = DATA[name]
    if payments is SYNTHETIC:
        at = pl.col("paid_at").dt.convert_time_zone("Asia/Shanghai")
        month = month or "month"
        table = pl.scan_parquet(f"{folder}/{month}.parquet")
        merchants = pl.scan_parquet(f"{folder}/{SAMPLES[month][0]}/merchants.parquet")
        table = table.join(merchants, on="merchant_id").with_columns(
            user="user_token", merchant="merchant_id", week=at.dt.truncate("1w").dt.date()
        )
    else:
        at = pl.col("transaction_timestamp").dt
        table = pl.scan_parquet(purchases).with_columns(
            user="household_id",
            amount=(pl.col("sales_value") * 100).round().cast(pl.Int64),
            department=pl.col("department").fill_null("UNKNOWN"),
            merchant="store_id",
            week=at.truncate("1w").dt.date(),
            month=at.truncate("1mo").dt.date(),
        )
        if month:
            days = pl.col("transaction_timestamp").dt.date()
            table = table.filter(days.is_between(*HOUSEHOLDS[month]))
    return table.select("user", *keys, "amount").collect()


def make_month(folder, month="month"):
    """The made-up payments of four weeks."""
    sample, payments, days = SAMPLES[month]
    if not (folder / sample).exists():
        command = [BINARY, "sample", folder / sample, "--payments", str(payments), "--days", str(days)]
        subprocess.run([*command, "--users", "100000", "--merchants", "3000"], check=True)
    day = pl.col("paid_at").dt.convert_time_zone("Asia/Shanghai").dt.date()
    pl.scan_parquet(f"{folder}/{sample}/payments/*.parquet").filter(
        pl.col("currency") == "CNY", day.is_between(*(MONTHS | LATER)[month])
    ).select("user_token", "merchant_id", "paid_at", "amount").sink_parquet(f"{folder}/{month}.parquet")


def contributions(name, folder):
    """By statistic: user and cell of each contribution as numbers from 0, and its size."""
    _, keys, _ = DATA[name]
    table = rows(name, folder).group_by("user", *keys).agg(
        pl.len().cast(pl.Float64).alias("payments"), pl.col("amount").sum().alias("sales")
    )
    number = lambda columns: pl.struct(columns).rank("dense").cast(pl.Int64) - 1
    table = table.with_columns(u=number(["user"]), c=number(keys), customers=pl.lit(1.0))
    u, c = table["u"].to_numpy(), table["c"].to_numpy()
    return {s: (u, c, table[s].cast(pl.Float64).to_numpy()) for s in STATISTICS}


def wape(contribution, cells, bound, z):
    """Expected WAPE with this norm bound and noise z times as large, over so many public cells."""
    u, c, x = contribution
    norms = np.sqrt(np.bincount(u, x * x))
    share = np.minimum(1, bound / np.maximum(norms, 1e-9))
    exact, kept = np.bincount(c, x), np.bincount(c, x * share[u])
    bias = np.zeros(cells)
    bias[: len(exact)] = kept - exact
    t = bias / (z * bound)
    erf = np.vectorize(math.erf)(t / math.sqrt(2))
    size = z * bound * (math.sqrt(2 / math.pi) * np.exp(-t * t / 2) + t * erf)
    return size.sum() / np.abs(exact).sum()


def departments():
    """Complete Journey's departments, with one for products that the public list lacks."""
    return sorted(pl.read_parquet(PURCHASES)["department"].fill_null("UNKNOWN").unique().to_list())


def write_job(
    name, folder, work, epsilon, report, month=None, job="job", purchases=PURCHASES
):
    """Writes a job on one data set with this report; its releases and ledger are in `work`."""
    payments, _, delta = DATA[name]
    month = month or ("month" if payments is SYNTHETIC else "year")
    first_day, last_day = (MONTHS | LATER | YEAR | HOUSEHOLDS)[month]
    text = f'version = 1\njob = "{job}"\nrecipient = "bench"\nreleases = "{work}"\n'
    text += payments.format(
        folder=folder, month=month, first_day=first_day, last_day=last_day, purchases=purchases,
        sample=SAMPLES.get(month, [""])[0],
        purchases_folder=PURCHASES.parent,
        keys=f"[keys]\ndepartment = {json.dumps(departments())}" if '"department"' in report else "",
    )
    text += f'[privacy]\nunit = "user"\nepsilon = "{epsilon}"\ndelta = "{delta}"\n'
    text += f'[ledger]\nfile = "{work}/ledger.sqlite"\npopulation = "p"\n'
    text += 'epsilon_max = "10"\ndelta_max = "1e-5"\n'
    text += f'[[report]]\nname = "r"\nkeys = "public"\n{report}\n'
    path = pathlib.Path(work) / f"{job}.toml"
    path.write_text(text)
    return path


def run(name, folder, epsilon, seed):
    """Norm bounds in units and noise multipliers by statistic, and the number of public cells."""
    _, keys, _ = DATA[name]
    work = pathlib.Path(folder) / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    report = f"levels = [{json.dumps(keys)}]\ninsights = {json.dumps(STATISTICS)}"
    job = write_job(name, folder, work, epsilon, report)
    subprocess.run([BINARY, "run", job], check=True, capture_output=True)
    manifest = json.loads((work / "job" / "manifest.json").read_text())
    file = manifest["files"][0]["name"]
    cells = pl.scan_parquet(work / "job" / file).select(pl.len()).collect().item()
    units = lambda e, key: e[key] / e["grid_units_per_unit"]
    found = {e["statistic"]: (units(e, "norm_bound"), e["sigma"] / e["norm_bound"])
             for e in manifest["mechanisms"]}
    return found, cells


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epsilons", default="0.3,1,3")
    parser.add_argument("--folder", default="/tmp/discretail-bounds")
    args = parser.parse_args()
    folder = pathlib.Path(args.folder)
    make_month(folder)
    print("| data | epsilon | statistic | best WAPE | chosen / best, median of seeds | worst |")
    print("|---|---|---|---|---|---|")
    ratios, useful = [], []
    for name in DATA:
        values = contributions(name, folder)
        for epsilon in args.epsilons.split(","):
            found = [run(name, folder, epsilon, seed) for seed in range(args.seeds)]
            for statistic in STATISTICS:
                u, _, x = values[statistic]
                norms = np.sqrt(np.bincount(u, x * x))
                cells, z = found[0][1], found[0][0][statistic][1]
                grid = np.geomspace(max(1, np.quantile(norms, 0.01)), norms.max(), 200)
                best = min(wape(values[statistic], cells, bound, z) for bound in grid)
                own = [wape(values[statistic], n, f[statistic][0], f[statistic][1]) / best
                       for f, n in found]
                ratios += own
                useful += own if best < 0.6 else []
                print(f"| {name} | {epsilon} | {statistic} | {best:.3f} | {np.median(own):.3f} "
                      f"| {max(own):.3f} |", flush=True)
    within = lambda limit, of: f"{100 * np.mean(np.array(of) <= limit):.0f} %"
    print(f"\nwithin 1.10 of the best: {within(1.1, ratios)} of {len(ratios)}; where the best WAPE is "
          f"below 0.6: within 1.5: {within(1.5, useful)} of {len(useful)}, worst {max(useful):.2f}")


if __name__ == "__main__":
    main()
