"""The released Parquet in the readers that people use: it opens, with the documented types, and its footer says
nothing about the values that the values do not."""

import datetime
import decimal

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

TIMES = {"day", "week", "month", "quarter"}
CLOCK = {"weekday", "hour"}
SUFFIXES = ["", "_low", "_high", "_grade", "_suppressed", "_unbiased", "_sd"]


def tables(release):
    files = sorted(release.glob("*.parquet"))
    assert len(files) == 11
    return files


def keys_of(file):
    """By its name: REPORT.KEY-KEY.parquet."""
    level = file.name.split(".")[1]
    return [] if level == "all" else level.split("-")


def test_polars_reads_keys_and_money_as_what_they_are(gallery):
    for file in tables(gallery):
        table = pl.read_parquet(file)
        for key in keys_of(file):
            wanted = pl.Date if key in TIMES else pl.UInt8 if key in CLOCK else pl.Categorical
            assert table.schema[key] == wanted, f"{file.name}: {key}"
        money = table.schema["sales"]
        assert money == pl.Decimal(27, 2)
        assert table.schema["customers"] == pl.Float64
        assert table.schema["customers_grade"] == pl.Categorical
        # Lazily too, with a condition.
        best = pl.scan_parquet(file).filter(pl.col("customers_grade") == "A").select("customers").collect()
        assert best.height == table.filter(pl.col("customers_grade").cast(pl.String) == "A").height


def test_duckdb_reads_keys_and_money_as_what_they_are(gallery):
    for file in tables(gallery):
        types = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '{file}')").fetchall())
        for key in keys_of(file):
            wanted = "DATE" if key in TIMES else "UTINYINT" if key in CLOCK else "VARCHAR"
            assert types[key] == wanted, f"{file.name}: {key}"
        assert types["sales"] == "DECIMAL(27,2)" and types["customers"] == "DOUBLE"
    region = gallery / "market.region.parquet"
    (total,), = duckdb.sql(f"SELECT sum(sales_unbiased) FROM '{region}'").fetchall()
    assert isinstance(total, decimal.Decimal) and total > 0


def test_pandas_reads_keys_and_money_as_what_they_are(gallery):
    for file in tables(gallery):
        table = pd.read_parquet(file)
        for key in keys_of(file):
            if key in TIMES:
                assert isinstance(table[key].iloc[0], datetime.date)
            elif key in CLOCK:
                assert table[key].dtype == "uint8"
            else:
                assert isinstance(table[key].dtype, pd.CategoricalDtype)
        sums = table["sales_unbiased"].dropna()
        assert all(isinstance(value, decimal.Decimal) for value in sums)


def test_all_three_read_the_same_values(gallery):
    for file in tables(gallery):
        one, other = pl.read_parquet(file), pl.from_arrow(duckdb.sql(f"SELECT * FROM '{file}'").to_arrow_table())
        third = pl.from_arrow(pa.Table.from_pandas(pd.read_parquet(file), preserve_index=False))
        for name in one.columns:
            texts = [table[name].cast(pl.String).to_list() for table in (one, other, third)]
            if name.endswith(("_grade", "_suppressed")) or name in keys_of(file):
                assert texts[0] == texts[1] == texts[2], f"{file.name}: {name}"
            else:
                numbers = [table[name].cast(pl.Float64) for table in (one, other, third)]
                assert numbers[0].equals(numbers[1]) and numbers[0].equals(numbers[2]), f"{file.name}: {name}"


def test_columns_are_complete_and_rows_in_the_order_of_keys(gallery):
    for file in tables(gallery):
        table, keys = pl.read_parquet(file), keys_of(file)
        values = table.columns[len(keys):]
        assert table.columns[:len(keys)] == keys
        groups = [values[at:at + len(SUFFIXES)] for at in range(0, len(values), len(SUFFIXES))]
        for group in groups:
            assert group == [group[0] + suffix for suffix in SUFFIXES], file.name
        if keys:
            texts = table.select(pl.col(key).cast(pl.String) if table.schema[key] == pl.Categorical else key
                                 for key in keys)
            assert texts.equals(texts.sort(keys)), file.name
            assert texts.is_unique().all(), file.name


def test_money_names_its_currency(gallery):
    for file in tables(gallery):
        for field in pq.read_schema(file):
            if pa.types.is_decimal(field.type):
                assert field.metadata[b"currency"] == b"CNY", field.name


def test_the_footer_says_nothing_of_values(gallery):
    """No least or largest values, no counts but that of rows, no index, filter or metadata beside what the schema
    lists."""
    for file in tables(gallery):
        metadata = pq.read_metadata(file)
        assert metadata.num_rows == pl.read_parquet(file).height
        assert set(metadata.metadata) == {b"discretail.schema", b"discretail.guarantee", b"ARROW:schema"}
        for group in range(metadata.num_row_groups):
            for at in range(metadata.num_columns):
                column = metadata.row_group(group).column(at)
                assert column.statistics is None and not column.has_column_index
                assert column.compression == "ZSTD"


def test_spark_reads_them(gallery):
    """Not part of .ci/run, as pyspark takes 400 MB and Java: install pyspark beside the others to run it."""
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed; see the test's text")
    spark = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        for file in tables(gallery):
            table = spark.read.parquet(str(file))
            types = dict(table.dtypes)
            for key in keys_of(file):
                wanted = "date" if key in TIMES else "smallint" if key in CLOCK else "string"
                assert types[key] == wanted, f"{file.name}: {key}"
            assert types["sales"] == "decimal(27,2)"
            assert table.count() == pl.read_parquet(file).height
    finally:
        spark.stop()
