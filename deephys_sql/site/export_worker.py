"""A process that writes the result of one query to its standard output as CSV or Parquet, batch by batch.

`streaming` starts it as a script, so that nothing of the package is imported that it doesn't need. It reads one pickled
dictionary from its standard input; an error is written to standard error, and its exit status is 1.
"""

import importlib.util
import pickle
import sys
from pathlib import Path

# Types that Arrow writes to CSV as one would; others are turned into text by DuckDB.
PLAIN = {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
         "FLOAT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP", "JSON"}  # fmt: skip


class Output:
    """Standard output for Arrow, which asks where it is."""

    closed = False

    def __init__(self, file):
        self._file = file
        self._position = 0

    def write(self, data) -> int:
        self._position += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        self._file.flush()


def text(name: str, kind: str) -> str:
    """Return the SQL of a column as CSV has it: nested values as JSON, binary ones in Base64."""
    quoted = '"' + name.replace('"', '""') + '"'
    if kind in PLAIN:
        return quoted
    if kind == "BLOB":
        return f"base64({quoted}) as {quoted}"
    nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))
    return f"cast({'to_json' if nested else ''}({quoted}) as varchar) as {quoted}"


def write(connection, sandbox_worker, job: dict) -> None:
    """Run the query of the job and write all of its rows."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    sql = job["sql"].strip().rstrip(";")
    if job["visitor"]:
        sandbox_worker.checked(sql, connection.cursor())
    (statement,) = connection.extract_statements(sql)
    parameters = {name: job["parameters"][name] for name in statement.named_parameters if name in job["parameters"]}
    if job["format"] == "csv" and statement.type.name == "SELECT":
        described = connection.cursor().execute(f"describe (\n{sql}\n)", parameters).fetchall()
        if any(kind not in PLAIN for _, kind, *_ in described):
            columns = ", ".join(text(name, kind) for name, kind, *_ in described)
            sql = f"select {columns} from (\n{sql}\n)"
    reader = connection.sql(sql, params=parameters).to_arrow_reader(job["batch_rows"])
    output = pa.PythonFile(Output(sys.stdout.buffer), "w")
    if job["format"] == "csv":
        writer = csv.CSVWriter(output, reader.schema, write_options=csv.WriteOptions(quoting_style="needed"))
    else:
        writer = parquet.ParquetWriter(output, reader.schema, compression="zstd")
    with writer:
        for batch in reader:
            writer.write_batch(batch)
    sys.stdout.buffer.flush()


def main() -> int:
    """Do one job."""
    job = pickle.load(sys.stdin.buffer)
    sys.path[:] = job["sys_path"]
    found = importlib.util.spec_from_file_location("sandbox_worker", Path(__file__).with_name("sandbox_worker.py"))
    sandbox_worker = importlib.util.module_from_spec(found)
    sys.modules["sandbox_worker"] = sandbox_worker
    found.loader.exec_module(sandbox_worker)
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet

        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
        connection = sandbox_worker.connect(job["path"], memory_mb=job["memory_mb"] * 3 // 5, threads=job["threads"])
        stand_in = sandbox_worker.gather(connection, *job["annotations"])
        if stand_in is not None:
            connection.execute(stand_in)
        sandbox_worker.checked("select 1", connection.cursor())  # opens and starts what it needs, before nothing may be opened any more
        connection.cursor().execute("select sum(range) from range(1000000)").fetchall()
        sandbox_worker.limit_resources(job["memory_mb"])
        write(connection, sandbox_worker, job)
    except BrokenPipeError:
        return 1
    except Exception as error:
        sys.stderr.write(sandbox_worker.explained(error, job["hide"], job["memory_mb"]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
