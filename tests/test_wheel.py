"""The wheel holds migrations and queries, and works without the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_installed_wheel_works_outside_the_checkout(tmp_path):
    """A wheel, installed into a folder of its own, makes a store and runs the demo."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    work = tmp_path / "elsewhere"
    work.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments):
        done = subprocess.run([sys.executable, "-P", *arguments], cwd=work, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert Path(run("-c", "import deephys_sql; print(deephys_sql.__file__)").strip()).is_relative_to(site)
    assert "most spurious" in run("-m", "deephys_sql.cli", "demo")
    assert "is whole" in run("-m", "deephys_sql.cli", "check", "demo.duckdb")
    assert "Permuted" in run("-m", "deephys_sql.cli", "info", "demo.duckdb")
