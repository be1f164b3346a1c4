"""Runs the benchmarks one after the other and writes what they found: `make bench`, `make bench-full`.

    python benchmarks/results.py --size full --output benchmarks/RESULTS.md --picture benchmarks/growth.svg

Each is a process of its own, so that none is measured in the memory of another. One that fails is reported in its place.
"""

import subprocess
import sys
import time
from pathlib import Path

import click
import measure

FOLDER = Path(__file__).parent
PACKAGES = ("deephys-sql", "duckdb", "numpy", "scipy", "torch", "polars", "h5py", "pyarrow", "deephys")


def parts(size: str, folder: Path, picture: Path | None) -> dict[str, list[str]]:
    """Return the command of each part by its title."""
    full = size == "full"
    shapes = ["--images", "50000", "--neurons", "2048", "--turns", "2"] if full else ["--turns", "2"]
    return {
        "Recording": ["recording.py", "--size", size, "--folder", str(folder)],
        "Questions": ["questions.py", "--size", size, "--folder", str(folder / f"questions-{size}")],
        "Plans": ["plans.py", "--size", size, "--folder", str(folder / f"questions-{size}")],
        "Growth": [
            "growth.py",
            "--size",
            size,
            "--folder",
            str(folder / f"growth-{size}"),
            *(["--picture", str(picture)] if picture else []),
        ],
        "Questions as users write them": ["shapes.py", "--store", str(folder / f"shapes-{size}.duckdb"), *shapes],
        "A data file of the original": ["deephys_files.py", "--runs", "2" if full else "1", "--images", "10000" if full else "1000"],
    }


@click.command(help=__doc__.splitlines()[0])
@click.option("--size", type=click.Choice(["small", "full"]), default="small", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/bench"), show_default=True, help="Stores, used again.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the report here too.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the growth here.")
def main(size: str, folder: Path, output: Path | None, picture: Path | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    report = [f"# Benchmarks: {size}", f"{measure.machine(*PACKAGES)} How it is measured: [README.md](README.md)."]
    if size == "small":
        report.append("Bounds are those of the full size, and say little of this one.")
    print(*report, sep="\n\n", flush=True)
    for title, (script, *arguments) in parts(size, folder, picture).items():
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, FOLDER / script, *arguments], capture_output=True, text=True)
        found = [f"## {title} (`benchmarks/{script}`)", done.stdout.strip()]
        if done.returncode:
            found.append(f"Failed: `{done.stderr.strip().splitlines()[-1]}`")
        if picture and script == "growth.py":
            found.append(f"![The growth of each question]({picture.name})")
        found.append(f"Measured in {time.perf_counter() - begin:.0f} s.")
        print("", *found, sep="\n\n", flush=True)
        report += found
    if output:
        output.write_text("\n\n".join(report) + "\n")


if __name__ == "__main__":
    main()
