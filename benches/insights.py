#!/usr/bin/env python3
"""How far ticket quantiles and repeat rates are from the exact ones, beside plainer ways.

    insights.py [--seeds 3] [--data synthetic,journey] [--folder /tmp/discretail-accuracy]

Needs what accuracy.py needs, and its folder after that has made the month. A job each asks for
each merchant (or store) and the month (or year), epsilon 1 and delta 1e-9 (1e-6):

- `ticket_quantiles` with the payments that they need, against exact quantiles of the payments, by exact number
  of payments: mean over merchants of |ln(estimate / exact)|. Beside it `histogram`, quantiles of
  `ticket_histogram` with bins of half an octave in a job of its own for the same budget, and `one for all`, the
  exact quantile of the merchant's category (or of the chain), which takes no noise but is not private either.
- `repeat_rate` against the exact share of customers with two visits or more, for merchants with 50 customers or
  more: mean |error|. Beside it `visits`, the ratio of noised visit classes without a model.

A payment of `journey` is a basket. Coverage is that of the 95 % intervals shown.
"""
import argparse
import json
import math
import pathlib
import shutil
import subprocess

import numpy as np
import polars as pl

import bounds

SHARES = {"p10": 0.10, "p25": 0.25, "p50": 0.50, "p75": 0.75, "p90": 0.90}
# Name: the data set of bounds.py, the column of groups, and classes by number of payments.
DATA = {
    "synthetic": ("merchant x week", "category", [(300, 1000), (1000, 5000)]),
    "journey": ("journey store x month", None, [(1000, 100_000)]),
}


def baskets(folder):
    """Complete Journey with what one household buys at one time in one store as one payment."""
    path = folder / "baskets-of-stores.parquet"
    if not path.exists():
        keys = ["household_id", "store_id", "transaction_timestamp"]
        table = pl.scan_parquet(bounds.PURCHASES).group_by(keys).agg(pl.col("sales_value").sum())
        table = table.with_columns(department=pl.lit("GROCERY"), sales_value=pl.col("sales_value").round(2))
        table.filter(pl.col("sales_value") > 0).collect().write_parquet(path)
    return path


def payments(data, folder):
    """User, merchant, day, group and amount of each payment."""
    name, group, _ = DATA[data]
    if data == "synthetic":
        table = pl.read_parquet(folder / "month.parquet").join(
            pl.read_parquet(folder / "synthetic" / "merchants.parquet"), on="merchant_id"
        )
        at = pl.col("paid_at").dt.convert_time_zone("Asia/Shanghai")
        return table.select(user="user_token", merchant="merchant_id", day=at.dt.date(), group=group,
                            amount="amount")
    table = pl.read_parquet(baskets(folder))
    return table.select(user="household_id", merchant=pl.col("store_id").cast(pl.String),
                        day=pl.col("transaction_timestamp").dt.date(), group=pl.lit("all"),
                        amount=(pl.col("sales_value") * 100).round().cast(pl.Int64))


def release(data, folder, insights, edges=None):
    """The table of merchants of one run."""
    name, group, _ = DATA[data]
    work = folder / "work-insights"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    report = f'levels = [["merchant"]]\nsuppress_above = "never"\ninsights = {json.dumps(insights)}'
    purchases = baskets(folder) if data == "journey" else bounds.PURCHASES
    job = bounds.write_job(name, folder, work, "1", report, purchases=purchases)
    text = job.read_text()
    if group and "ticket_quantiles" in insights:
        text = text.replace("[merchants]\n", f'[merchants]\nticket_groups = "{group}"\n')
    if edges:
        text = text.replace("[payments]\n", f"[payments]\nticket_edges = {json.dumps(edges)}\n")
    job.write_text(text)
    subprocess.run([bounds.BINARY, "run", job], check=True, capture_output=True)
    return pl.read_parquet(work / "job" / "r.merchant.parquet").with_columns(
        pl.col("merchant").cast(pl.String)
    )


def exact(table):
    """Of each merchant the exact figures."""
    paid = table.filter(pl.col("amount") > 0)
    quantiles = [pl.col("amount").quantile(share).alias(name) for name, share in SHARES.items()]
    visits = table.group_by("merchant", "user").agg(visits=pl.col("day").n_unique())
    rates = visits.group_by("merchant").agg(users=pl.len(), rate=(pl.col("visits") >= 2).mean())
    figures = paid.group_by("merchant", "group").agg(pl.len().alias("payments"), *quantiles)
    figures = figures.join(rates, on="merchant")
    groups = paid.group_by("group").agg(
        *[pl.col("amount").quantile(share).alias(f"group_{name}") for name, share in SHARES.items()]
    )
    return figures.join(groups, on="group")


def of_histogram(table, edges):
    """Quantiles of noised histograms, interpolated within bins on a logarithmic scale."""
    ends = np.array([edges[0] / 1.41] + edges + [edges[-1] * 1.41]) * 100
    columns = [c for c in table.columns if "_from_" in c and c.split("_from_")[1].replace("_", "").isdigit()]
    counts = np.maximum(table.select(columns).to_numpy(), 0)
    below = np.hstack([np.zeros((len(counts), 1)), np.cumsum(counts, axis=1)])
    found = {"merchant": table["merchant"]}
    for name, share in SHARES.items():
        wanted = share * below[:, -1]
        found[name] = [
            math.exp(np.interp(w, b, np.log(ends))) if b[-1] > 0 else None for w, b in zip(wanted, below)
        ]
    return pl.DataFrame(found)


def log_error(truth, found, name, column):
    pairs = truth.join(found, on="merchant").drop_nulls(column)
    return (pairs[column].cast(pl.Float64) / pairs[name]).log().abs().mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default="synthetic,journey")
    parser.add_argument("--folder", type=pathlib.Path, default="/tmp/discretail-accuracy")
    args = parser.parse_args()
    for data in args.data.split(","):
        truth = exact(payments(data, args.folder))
        edges = [round(2 ** (step / 2), 2) for step in range(31)]
        runs = []
        for _ in range(args.seeds):
            own = release(data, args.folder, ["ticket_quantiles"])
            cents = [pl.col(c).cast(pl.Float64) * 100 for c in own.columns if c.startswith("ticket_")
                     and not c.endswith(("_grade", "_suppressed"))]
            own = own.with_columns(*cents)
            flat = of_histogram(release(data, args.folder, ["ticket_histogram"], edges), edges)
            rates = release(data, args.folder, ["visit_classes", "repeat_rate"])
            runs.append((own, flat, rates))
        print(f"\n{data}: mean |ln(estimate / exact)| of {', '.join(SHARES)}")
        for low, high in DATA[data][2]:
            some = truth.filter(pl.col("payments").is_between(low, high))
            each = lambda pick: " ".join(f"{np.mean([pick(run, name) for run in runs]):.3f}" for name in SHARES)
            print(f"{low}-{high} payments, {len(some)} merchants")
            q = "ticket_quantiles_"
            print("  ticket_quantiles", each(lambda run, name: log_error(some, run[0], name, q + name)))
            print("  unbiased        ", each(lambda run, name: log_error(some, run[0], name, f"{q}{name}_unbiased")))
            print("  histogram       ", each(lambda run, name: log_error(
                some, run[1].rename({n: f"flat_{n}" for n in SHARES}), name, f"flat_{name}")))
            alone = some.select("merchant", *[pl.col(f"group_{n}").alias(f"own_{n}") for n in SHARES])
            print("  one for all     ", each(lambda run, name: log_error(some, alone, name, f"own_{name}")))

            def covered(run, name):
                pairs = some.join(run[0], on="merchant").drop_nulls(q + name)
                return pairs[name].is_between(pairs[f"{q}{name}_low"], pairs[f"{q}{name}_high"]).mean()

            print("  coverage        ", each(covered))
        some = truth.filter(pl.col("users") >= 50)
        rate, noised, inside = [], [], []
        for _, _, rates in runs:
            pairs = some.join(rates, on="merchant")
            shown = pairs.drop_nulls("repeat_rate")
            rate.append((shown["repeat_rate"] - shown["rate"]).abs().mean())
            inside.append(shown["rate"].is_between(shown["repeat_rate_low"], shown["repeat_rate_high"]).mean())
            parts = [pairs[f"visit_classes_{c}_unbiased"] for c in ("1", "2", "3_4", "5_up")]
            plain = ((parts[1] + parts[2] + parts[3]) / sum(parts)).clip(0, 1)
            noised.append((plain - pairs["rate"]).abs().mean())
        print(f"repeat rate, {len(some)} merchants with 50 customers or more: mean |error| "
              f"{np.mean(rate):.3f}, noised {np.mean(noised):.3f}, coverage {np.mean(inside):.3f}")


if __name__ == "__main__":
    main()
