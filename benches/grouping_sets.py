#!/usr/bin/env python3
"""The query of five levels as it is generated, against two others that give the same rows.

    grouping_sets.py duckdb|spark [--payments 1000000] [--rounds 1] [--folder /tmp/discretail-spark]
                     [--master local-cluster[2,1,1024]]

One adds all levels up at once, by GROUPING SETS; the other coarser levels from finer ones. Run it with a Python that
has duckdb and pyspark (tests/sql/requirements.txt), after `cargo build --release`. Each query is run in a process of
its own, DuckDB with two threads. Prints wall and CPU seconds and the sum of peak memory of all its processes, of
Spark without its start, with what Spark's tasks alone took, and shuffled; then whether all give the same rows. The
job is that of spark.py, whose levels have the same bounds, so that one flow of steps serves all.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

import engine
import spark

STEP = "\n-- (user, cell): what the user has there\n"
# The keys of the levels by the query's columns: region, category, week, merchant.
LEVELS = {"market.region": "1", "market.region-category": "12", "market.region-category-week": "123",
          "merchants.merchant": "4", "merchants.merchant-week": "43"}


def at_once(sql):
    """One flow of steps for all levels, which `dr_g` tells apart, in place of one for each."""
    before, first, *_ = sql.split(STEP)
    keys = ", ".join(f"dr_k{key}" for key in "1234")
    number = {level: sum(0 if key in own else 2**(4 - int(key)) for key in "1234") for level, own in LEVELS.items()}
    told = " + ".join(f"GROUPING(dr_k{key}) * {2**(4 - int(key))}" for key in "1234")
    sets = ", ".join("(dr_user, " + ", ".join(f"dr_k{key}" for key in own) + ")" for own in LEVELS.values())
    for old, new in [
        ("dr_l1_", "dr_g_"),
        ("SELECT dr_user, dr_k1,\n    COUNT", f"SELECT dr_user, {told} AS dr_g, {keys},\n    COUNT"),
        ("GROUP BY dr_user, dr_k1\n", f"GROUP BY GROUPING SETS ({sets})\n"),
        ("c.dr_user, c.dr_k1,", "c.dr_user, c.dr_g, c.dr_k1, c.dr_k2, c.dr_k3, c.dr_k4,"),
        ("c.dr_user ORDER BY hex(c.dr_k1)",
         "c.dr_user, c.dr_g ORDER BY hex(c.dr_k1), hex(c.dr_k2), hex(c.dr_k4), c.dr_k3"),
        ("dr_user, dr_k1, n_rows", f"dr_user, dr_g, {keys}, n_rows"),
        ("(PARTITION BY dr_user)", "(PARTITION BY dr_user, dr_g)"),
        ("SELECT dr_k1,\n    SUM", f"SELECT dr_g, {keys},\n    SUM"),
        ("GROUP BY dr_k1\n", f"GROUP BY dr_g, {keys}\n"),
    ]:
        assert old in first, old
        first = first.replace(old, new)
    # All rows, then the first level's, whose level and keys are looked up.
    rows, level, *_ = sql[sql.rindex("_totals AS ("):].split("\n),\n")[-1].split("\n)\n", 1)[1].split("\nUNION ALL\n")
    text = re.search(r"AS (\w+)\) AS .level.", level)[1]
    case = lambda of: "CASE dr_g" + "".join(f" WHEN {number[name]} THEN {of(name)}" for name in LEVELS) + " END"
    place = lambda at: lambda name: f"CAST(dr_k{LEVELS[name][at]} AS {text})" if at < len(LEVELS[name]) else "NULL"
    level = level.replace("'market.region'", case(lambda name: f"'{name}'")).replace("dr_l1_", "dr_g_")
    keyed = re.compile(r"CAST\((?:dr_k1|NULL) AS \w+\) AS (.key_(\d).)")
    level = keyed.sub(lambda found: f"{case(place(int(found[2]) - 1))} AS {found[1]}", level)
    return f"{before}{STEP}{first.rstrip().rstrip(',')}\n{rows}\nUNION ALL\n{level}"


def rolled_up(sql):
    """The steps by user and cell of coarser levels from those of finer ones."""
    before, *levels = sql.split(STEP)
    cells, rests = zip(*(level.split("\n),\n", 1) for level in levels))
    added = re.compile(r"(COUNT\(\*\)|SUM\(.*\)) AS (n_\w+)")
    steps = list(cells)
    for level, finer in [(2, 3), (1, 2), (4, 5)]:
        step = added.sub(r"SUM(\2) AS \2", cells[level - 1])
        # Spark's sums of sums have more digits, for which later steps have no place.
        if "DECIMAL" in step or "DECIMAL" in cells[level - 1]:
            step = step.replace("SUM(n_sales)", "CAST(SUM(n_sales) AS DECIMAL(28,0))")
        steps[level - 1] = step.replace("FROM dr_payments", f"FROM dr_l{finer}_cells")
    first = "".join(f"{STEP}{steps[level - 1]}\n),\n" for level in (3, 2, 1, 5, 4))
    return before + first + "".join(rests)


def run_duckdb(sql, data, out):
    import duckdb

    con = duckdb.connect(config={"threads": 2, "temp_directory": f"{out}.spill"})
    con.execute(f"CREATE VIEW payments AS SELECT * FROM read_parquet('{data}/payments/*.parquet')")
    started, before = time.monotonic(), spark.group(os.getpid())[0]
    con.execute(f"COPY ({sql}) TO '{out}' (FORMAT parquet)")
    return started, before, ""


def run_spark(sql, data, out, master):
    import pyspark
    from pyspark.sql import SparkSession

    os.environ.update(SPARK_HOME=pyspark.__path__[0], SPARK_LOCAL_IP="127.0.0.1")
    builder = SparkSession.builder.master(master).config("spark.sql.shuffle.partitions", 4)
    builder = builder.config("spark.sql.ansi.enabled", "true").config("spark.sql.session.timeZone", "UTC")
    session = builder.config("spark.driver.memory", "1g").config("spark.ui.showConsoleProgress", "false").getOrCreate()
    session.read.parquet(f"{data}/payments").createOrReplaceTempView("payments")
    started, before = time.monotonic(), spark.group(os.getpid())[0]
    session.sql(sql).coalesce(1).write.mode("overwrite").parquet(out)
    context = session.sparkContext
    pages = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/stages?status=complete"
    with urllib.request.urlopen(pages) as answer:
        stages = json.load(answer)
    total = lambda name: sum(stage[name] for stage in stages)
    return started, before, (f"; tasks {total('executorCpuTime') / 1e9:.1f} CPU s, shuffle "
                             f"{total('shuffleWriteRecords'):,} rows of {total('shuffleWriteBytes'):,} bytes, spill "
                             f"{total('diskBytesSpilled'):,} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engine", choices=["duckdb", "spark"])
    parser.add_argument("--payments", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/discretail-spark"))
    parser.add_argument("--master", default="local-cluster[2,1,1024]")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    data = options.folder / str(options.payments)
    if options.run:
        file, out = options.run
        sql = pathlib.Path(file).read_text()
        more = [options.master] if options.engine == "spark" else []
        started, before, told = (run_spark if more else run_duckdb)(sql, data, out, *more)
        cpu, memory = spark.group(os.getpid())
        wall = time.monotonic() - started
        print(f"{file}: {wall:.1f} s, {cpu - before:.1f} CPU s, {memory:.0f} MB{told}", flush=True)
        return
    spark.make_payments(data, options.payments)
    job = spark.write_table_job(data, "sets", 'table = "payments"')
    command = [engine.BINARY, "plan", "--sql", options.engine, job]
    sql = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    queries = {"generated": sql, "at-once": at_once(sql), "rolled-up": rolled_up(sql)}
    for name, text in queries.items():
        (data / "sets" / f"{name}.sql").write_text(text)
    for _ in range(options.rounds):
        for name in queries:
            file = data / "sets" / f"{name}.sql"
            own = [sys.executable, *sys.argv, "--run", file, file.with_suffix(".parquet")]
            subprocess.run(own, check=True, stderr=subprocess.DEVNULL, start_new_session=True)
    import duckdb

    parts = "/*.parquet" if options.engine == "spark" else ""
    count = lambda rows: duckdb.sql(f"SELECT COUNT(*) FROM ({rows})").fetchall()[0][0]
    files = (f"{data}/sets/{name}.parquet{parts}" for name in queries)
    wanted, *others = (f"SELECT * EXCLUDE (plan) FROM read_parquet('{file}')" for file in files)
    differ = [count(f"({one}) EXCEPT ALL ({two})") for rows in others for one, two in [(wanted, rows), (rows, wanted)]]
    print(f"{count(wanted):,} rows, of which {differ} differ")


if __name__ == "__main__":
    main()
