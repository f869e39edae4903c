#!/usr/bin/env python3
"""What a peer releases for the cells of benches/accuracy.py, which starts this in the peer's environment.

    peers_accuracy.py opendp|pipelinedp CELLS SIZE EPSILON DELTA FOLDER SEEDS

CELLS is a Parquet file with one row for each user and non-empty cell: u, c (numbers from 0), payments,
sales in minor units; SIZE the number of public cells. Writes FOLDER/SETTING-SEED.parquet, a row for each
public cell, and FOLDER/SETTING.json with the bounds; what is there already is left as it is.

The whole budget is (EPSILON, DELTA), each of the three statistics has a third of it. Both peers bound a
user by keeping L0 of the user's cells at random and clipping each to Linf; their noise follows from
L0 and Linf. They get one row for each user and cell (made before, which is a favour: no payment is
dropped, only clipped), all public cells as public partitions, and bounds in three settings:

usual   L0 and Linf are the 99 % quantiles of cells per user and of values per user and cell
wape    the L0 and Linf of each statistic on a grid that give the least WAPE over all public cells
median  ... that give the least median relative error over cells with at least 20 customers

All three look at the exact records without paying for it; wape and median are oracles. The search draws
one sample of each user's cells and takes the noise's exact expectation (wape) or 5 draws (median), with
the multiplier that the library itself gives. Laplace noise is tried too, and used for all three
statistics where the sum of their errors is smaller.

OpenDP: one compositor, three queries. Gaussian: rho zCDP, the greatest that OpenDP converts to (EPSILON,
DELTA), split evenly. Laplace: EPSILON split evenly.
PipelineDP: one accountant, three aggregations: PRIVACY_ID_COUNT, and SUM of the payments and sales of
each user and cell. usual has the default accountant, which splits EPSILON and DELTA; wape and median the
experimental one, which composes privacy loss distributions and needs less noise.
"""
import json
import math
import operator
import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

STATISTICS = ("customers", "payments", "sales")
SETTINGS = ("usual", "wape", "median")


class OpenDp:
    def __init__(self, epsilon, delta):
        import opendp.prelude as dp

        dp.enable_features("contrib")
        self.dp, self.epsilon, self.delta = dp, epsilon, delta
        space = dp.atom_domain(T=float, nan=False), dp.absolute_distance(T=float)

        def cost(scale):
            noise = dp.c.make_zCDP_to_approxDP(dp.m.make_gaussian(*space, scale=scale))
            return dp.c.make_fix_delta(noise, delta).map(1.0)[0]

        low, high = 0.1, 1e4
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if cost(middle) <= epsilon else (middle, high)
        self.rho = 1 / (2 * high * high)

    def multipliers(self, setting):
        """Scale of the noise of one of three statistics at sensitivity 1, by kind of noise."""
        return {"gaussian": math.sqrt(3 / (2 * self.rho)), "laplace": 3 / self.epsilon}

    def release(self, table, size, bounds, kind, setting):
        import polars as pl

        dp, cells = self.dp, pl.from_arrow(table).lazy().with_columns(customers=pl.lit(1, pl.Int64))
        loss = dp.loss_of(rho=self.rho) if kind == "gaussian" else dp.loss_of(epsilon=self.epsilon)
        context = dp.Context.compositor(
            data=cells,
            privacy_unit=dp.unit_of(contributions=1, identifier="u"),
            privacy_loss=loss,
            split_evenly_over=3,
            margins=[dp.polars.Margin(by=["c"], max_length=1_000_000_000, max_groups=size)],
        )
        keys = pl.DataFrame({"c": np.arange(size, dtype=np.int32)})
        result = {}
        for statistic in STATISTICS:
            l0, linf = bounds[statistic]
            low = -linf if statistic == "sales" else 0
            query = context.query().truncate_per_group(1, by=["c"]).truncate_per_group(l0)
            query = query.group_by("c").agg(pl.col(statistic).dp.sum((low, linf)).alias("x"))
            found = keys.join(query.with_keys(keys).release().collect(), on="c", how="left")
            result[statistic] = found["x"].to_numpy().astype(float)
        return result


class PipelineDp:
    def __init__(self, epsilon, delta):
        import pipeline_dp

        self.pd, self.epsilon, self.delta, self.rows = pipeline_dp, epsilon, delta, None

    def accountant(self, setting):
        pd = self.pd
        kind = pd.NaiveBudgetAccountant if setting == "usual" else pd.PLDBudgetAccountant
        return kind(self.epsilon, self.delta)

    def multipliers(self, setting):
        found = {}
        for kind in ("gaussian", "laplace"):
            accountant = self.accountant(setting)
            mechanism = self.pd.aggregate_params.MechanismType[kind.upper()]
            spec = [accountant.request_budget(mechanism) for _ in STATISTICS][0]
            accountant.compute_budgets()
            unit = self.pd.dp_computations.Sensitivities(l0=1, linf=1)
            std = self.pd.dp_computations.create_additive_mechanism(spec, unit).std
            found[kind] = std / math.sqrt(2) if kind == "laplace" else std
        return found

    def release(self, table, size, bounds, kind, setting):
        pd = self.pd
        if self.rows is None:
            self.rows = list(zip(*(table[k].to_pylist() for k in ("u", "c", "payments", "sales"))))
        accountant = self.accountant(setting)
        engine = pd.DPEngine(accountant, pd.LocalBackend())
        results = {}
        for number, statistic in enumerate(STATISTICS):
            l0, linf = bounds[statistic]
            sums = {}
            if statistic != "customers":
                low = -linf if statistic == "sales" else 0
                sums = {"min_sum_per_partition": low, "max_sum_per_partition": linf}
            params = pd.AggregateParams(
                metrics=[pd.Metrics.SUM if sums else pd.Metrics.PRIVACY_ID_COUNT],
                noise_kind=pd.NoiseKind[kind.upper()],
                max_partitions_contributed=l0,
                max_contributions_per_partition=1,
                **sums,
            )
            extractors = pd.DataExtractors(
                privacy_id_extractor=operator.itemgetter(0),
                partition_extractor=operator.itemgetter(1),
                value_extractor=operator.itemgetter(max(number, 1) + 1),
            )
            results[statistic] = engine.aggregate(self.rows, params, extractors, list(range(size)))
        accountant.compute_budgets()
        found = {statistic: np.full(size, np.nan) for statistic in STATISTICS}
        for statistic, result in results.items():
            for cell, value in result:
                found[statistic][cell] = value[0]
        return found


def expected_size(bias, scale, kind):
    """E|bias + noise|."""
    if kind == "laplace":
        return np.abs(bias) + scale * np.exp(-np.abs(bias) / scale)
    t = bias / scale
    erf = np.frompyfunc(math.erf, 1, 1)(t / math.sqrt(2)).astype(float)
    return scale * (math.sqrt(2 / math.pi) * np.exp(-t * t / 2) + t * erf)


def error(setting, kind, bias, scale, exact, large, draws):
    if setting == "median":
        noise = scale * draws[kind][:, large]
        return np.median(np.abs(bias[large] + noise) / np.abs(exact[large]))
    return expected_size(bias, scale, kind).sum() / np.abs(exact).sum()


def choose(cells, size, multipliers, setting):
    """By kind of noise and statistic: error and bounds."""
    u, c, values = cells
    random = np.random.default_rng(20250203)
    # Where each row stands among its user's rows, in random order.
    order = np.lexsort((random.random(len(u)), u))
    starts = np.r_[0, np.flatnonzero(np.diff(u[order])) + 1]
    place = np.empty(len(u), int)
    place[order] = np.arange(len(u)) - np.repeat(starts, np.diff(np.r_[starts, len(u)]))
    customers = np.bincount(c, minlength=size)
    draws = {"gaussian": random.normal(size=(5, size)), "laplace": random.laplace(size=(5, size))}
    per_user = np.bincount(u)
    per_user = per_user[per_user > 0]
    found = {kind: {} for kind in multipliers}
    for statistic, x in values.items():
        quantile = lambda q: max(1, math.ceil(np.quantile(np.abs(x), q)))
        if setting == "usual":
            l0s, linfs = [math.ceil(np.quantile(per_user, 0.99))], [quantile(0.99)]
        else:
            grid = lambda low, high, n: np.unique(np.geomspace(low, high, n).round().astype(int))
            l0s, linfs = grid(1, per_user.max(), 25), grid(quantile(0.01), quantile(0.999), 30)
        exact = np.bincount(c, x, minlength=size)
        large = (customers >= 20) & (exact > 0)
        for l0 in map(int, l0s):
            kept = place < l0
            for linf in map(int, linfs):
                bias = np.bincount(c[kept], x[kept].clip(-linf, linf), minlength=size) - exact
                for kind, multiplier in multipliers.items():
                    scale = multiplier * linf * (l0 if kind == "laplace" else math.sqrt(l0))
                    e = error(setting, kind, bias, scale, exact, large, draws)
                    found[kind][statistic] = min(
                        found[kind].get(statistic, (math.inf,)), (float(e), (l0, linf), scale)
                    )
    return found


def main():
    peer, path, size, epsilon, delta, folder, seeds = sys.argv[1:]
    size, folder = int(size), pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(path)
    u, c, payments, sales = (table[k].to_numpy() for k in ("u", "c", "payments", "sales"))
    values = {"customers": np.ones(len(u)), "payments": payments.astype(float)}
    values["sales"] = sales.astype(float)
    library = {"opendp": OpenDp, "pipelinedp": PipelineDp}[peer](float(epsilon), float(delta))
    for setting in SETTINGS:
        note = folder / f"{setting}.json"
        if not note.exists():
            found = choose((u, c, values), size, library.multipliers(setting), setting)
            total = lambda kind: sum(e for e, _, _ in found[kind].values())
            kind = min(found, key=total)
            chosen = {s: {"error": e, "bounds": b, "scale": n} for s, (e, b, n) in found[kind].items()}
            note.write_text(json.dumps({"noise": kind, "statistics": chosen,
                                        "sum of errors": {k: total(k) for k in found}}))
        plan = json.loads(note.read_text())
        bounds = {s: b["bounds"] for s, b in plan["statistics"].items()}
        for seed in range(int(seeds)):
            file = folder / f"{setting}-{seed}.parquet"
            if not file.exists():
                released = library.release(table, size, bounds, plan["noise"], setting)
                pq.write_table(pa.table(released), file)
                print(f"{peer} {setting} {seed}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
