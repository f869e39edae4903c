"""Tables in folders, one file for each month, in the readers that people use: as one table with its key."""

import datetime

import duckdb
import pandas as pd
import polars as pl

from conftest import discretail

MONTHS = [datetime.date(2025, month, 1) for month in (1, 2, 3)]
TABLES = ["shops.category-month.parquet", "shops.merchant-month.parquet"]


def test_each_month_has_a_file_without_the_key(peers):
    for name in TABLES:
        files = sorted((peers / name).glob("*/*"))
        assert [file.relative_to(peers / name).as_posix() for file in files] == [
            f"month={month}/part-0.parquet" for month in MONTHS]
        for file in files:
            schema = pl.read_parquet_schema(file)
            assert "month" not in schema and "payments" in schema


def test_polars_puts_the_key_back(peers):
    for name in TABLES:
        table = pl.scan_parquet(peers / name).collect()
        assert table.schema["month"] == pl.Date
        assert sorted(set(table["month"])) == MONTHS
        march = pl.scan_parquet(peers / name).filter(pl.col("month") == MONTHS[2]).collect()
        own = pl.read_parquet(peers / name / f"month={MONTHS[2]}" / "part-0.parquet", hive_partitioning=False)
        assert march.height == own.height > 0
        assert march["payments_unbiased"].equals(own["payments_unbiased"])


def test_duckdb_puts_the_key_back(peers):
    for name in TABLES:
        files = f"'{peers / name}/*/*.parquet'"
        rows = duckdb.sql(f"SELECT month, count(*), sum(payments_unbiased) FROM {files} GROUP BY month ORDER BY month")
        found = rows.fetchall()
        assert [month for month, *_ in found] == MONTHS
        table = pl.scan_parquet(peers / name).collect()
        for month, count, total in found:
            own = table.filter(pl.col("month") == month)["payments_unbiased"]
            assert count == own.len() and abs(total - own.sum()) < 1e-6 * abs(total)


def test_pandas_puts_the_key_back(peers):
    for name in TABLES:
        table = pd.read_parquet(peers / name)
        assert sorted(set(table["month"].astype(str))) == [str(month) for month in MONTHS]
        assert len(table) == pl.scan_parquet(peers / name).select(pl.len()).collect().item()


def test_the_release_is_verified(peers):
    said = discretail("verify", peers, "--ledger", peers.parent / "ledger.sqlite")
    assert "lattice" in said and "failed" not in said


def test_bands_are_words_that_readers_know(peers):
    cells = pl.scan_parquet(peers / TABLES[0]).collect()
    assert set(cells["payments_concentration_band"].drop_nulls()) <= {"low", "moderate", "high", "unsure"}
    shops = pl.scan_parquet(peers / TABLES[1]).collect()
    bands = shops["payments_rank_band"].cast(pl.String)
    assert set(bands.drop_nulls()) <= {"top 10 %", "top 25 %", "top 50 %", "rest", "unsure"}
    sure = shops.filter(bands == "top 10 %")
    assert (sure["payments_rank_high"] <= 0.1).all()
    assert shops["payments_peer_benchmark_p50"].drop_nulls().len() > 0
