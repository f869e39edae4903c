"""Runs the SQL that `plan --sql` prints in the real engine, for the tests of src/engine/tests/elsewhere.rs.

Reads a JSON object a line from standard input: `sql`; `payments`, a Parquet file that becomes the table `payments`;
and `out`, where the result goes as Parquet that nobody else can read. Writes `ok`, or what went wrong in one line.

    python tests/sql/engines.py duckdb|spark|postgresql
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile


def duckdb():
    import duckdb

    connection = duckdb.connect()
    # Whatever the machine's zone is, and even one that changes its clocks.
    connection.execute("SET TimeZone = 'America/New_York'")

    def run(sql, payments, out):
        connection.execute(f"CREATE OR REPLACE VIEW payments AS SELECT * FROM read_parquet('{payments}')")
        connection.execute(f"COPY ({sql}) TO '{out}' (FORMAT parquet)")
        os.chmod(out, 0o600)

    return run


def through_spark(session):
    def run(sql, payments, out):
        session.read.parquet(payments).createOrReplaceTempView("payments")
        session.sql(sql).write.mode("overwrite").parquet(out)
        os.chmod(out, 0o700)

    return run


def spark():
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", False)
    builder = builder.config("spark.ui.showConsoleProgress", False)
    builder = builder.config("spark.sql.shuffle.partitions", 3).config("spark.driver.memory", "2g")
    builder = builder.config("spark.sql.ansi.enabled", os.environ.get("SPARK_ANSI", "true"))
    builder = builder.config("spark.sql.session.timeZone", os.environ.get("SPARK_ZONE", "UTC"))
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return through_spark(session)


def postgresql():
    import psycopg
    import pyarrow as pa
    import pyarrow.parquet as pq

    binaries = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    home = tempfile.mkdtemp(prefix="discretail-pg-")
    # It will not run as root.
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(home, "postgres")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True, "cwd": "/"}
    subprocess.run([*user, binaries / "initdb", "-D", f"{home}/data", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust",
                    "-U", "tester"], **quiet)
    options = f"-c listen_addresses= -c unix_socket_directories={home} -c fsync=off"
    subprocess.run([*user, binaries / "pg_ctl", "-D", f"{home}/data", "-w", "-o", options, "start"], **quiet)
    connection = psycopg.connect(host=home, user="tester", dbname="postgres", autocommit=True)
    connection.execute("SET TimeZone = 'America/New_York'")
    types = {"string": "text", "large_string": "text", "string_view": "text", "int64": "bigint", "int32": "integer",
             "bool": "boolean", "date32[day]": "date", "timestamp[us]": "timestamp",
             "timestamp[us, tz=UTC]": "timestamptz"}

    def name_of(kind):
        return f"numeric({kind.precision},{kind.scale})" if pa.types.is_decimal(kind) else types[str(kind)]

    def run(sql, payments, out):
        table = pq.read_table(payments)
        columns = ", ".join(f'"{field.name}" {name_of(field.type)}' for field in table.schema)
        connection.execute("DROP TABLE IF EXISTS payments")
        connection.execute(f"CREATE TABLE payments ({columns})")
        with connection.cursor().copy("COPY payments FROM STDIN") as copy:
            for row in zip(*(column.to_pylist() for column in table.columns)):
                copy.write_row(row)
        cursor = connection.execute(sql)
        names = [column.name for column in cursor.description]
        rows = cursor.fetchall()
        kinds = [pa.string() if name in ("plan", "level") or name.startswith("key_") else pa.int64() for name in names]
        arrays = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(kinds)]
        pq.write_table(pa.table(arrays, names=names), out)
        os.chmod(out, 0o600)

    def close():
        connection.close()
        subprocess.run([*user, binaries / "pg_ctl", "-D", f"{home}/data", "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(home, ignore_errors=True)

    run.close = close
    return run


def main():
    run = {"duckdb": duckdb, "spark": spark, "postgresql": postgresql}[sys.argv[1]]()
    try:
        print("ready", flush=True)
        for line in sys.stdin:
            task = json.loads(line)
            try:
                run(task["sql"], task["payments"], task["out"])
                answer = "ok"
            except Exception as error:  # The test shows it.
                answer = f"{type(error).__name__}: {error}"
            print(" ".join(answer.split()), flush=True)
    finally:
        getattr(run, "close", lambda: None)()


main()
