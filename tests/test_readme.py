"""README.md says what is so: its Python runs, and its SQL gives what it shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import deephys_sql as dp

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_python_block_runs(tmp_path, monkeypatch, capsys):
    """The block for one's own model runs on a model and loaders of these names."""
    monkeypatch.chdir(tmp_path)
    net = nn.Sequential()
    net.add_module("features", nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    net.add_module("flatten", nn.Flatten())
    net.add_module("hidden", nn.Sequential(nn.Linear(4 * 36, 6), nn.ReLU()))
    net.add_module("head", nn.Linear(6, 4))
    images, labels = torch.rand(20, 3, 8, 8), torch.arange(20) % 4
    names = {
        "net": net,
        "example_input": images[:1],
        "loaders": {
            name: [(images[:10] * dim, labels[:10]), (images[10:] * dim, labels[10:])] for name, dim in (("day", 1), ("night", 0.3))
        },
        "names": ["cat", "dog", "owl", "fox"],
    }
    block, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(block, names)
    assert "features  Sequential  1 x 4 x 6 x 6" in capsys.readouterr().out
    with dp.open("study.duckdb", read_only=True) as store:
        assert store.sql("select count(*) from recording").fetchall() == [(2,)]


@pytest.mark.slow
def test_demo_says_what_the_readme_says(tmp_path):
    """`deephys-sql demo` gives the order of the paper, and each SQL block of the README runs on its store.

    Figures are compared in their first digits only where the README shows them: another processor may round otherwise.
    """
    store_path = tmp_path / "demo.duckdb"
    command = [sys.executable, "-m", "deephys_sql.cli", "demo", "--store", str(store_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with dp.open(store_path, read_only=True) as store:
        assert store.check() == []
        summary = {
            (row["dataset"], row["score"]): row for row in store.query("score_summary", model="colored_mnist", layer="linear1").to_dicts()
        }
        median = {dataset: summary[dataset, "spurious"]["median"] for dataset in ("Permuted", "Arbitrary", "Drifted")}
        spread = {dataset: summary[dataset, "response_loss"]["std"] for dataset in ("Permuted", "Arbitrary", "Drifted")}
        assert median["Permuted"] > median["Arbitrary"] > 5 * median["Drifted"]
        assert spread["Arbitrary"] > spread["Permuted"] > spread["Drifted"]
        blocks = re.findall(r"```sql\n(.*?)```\n```\n(.*?)```", README, re.DOTALL)
        assert len(blocks) == 5
        for statement, shown in blocks:
            result = store.sql(statement)
            columns = [cell.strip() for cell in shown.splitlines()[1].strip("│").split("│")]
            assert result.columns == columns
            assert len(result.fetchall()) == sum(line.startswith("│") for line in shown.splitlines()) - 2
    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 2 and "is there already" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(example, tmp_path):
    """Each example runs from another folder, and prints as many lines as its docstring shows."""
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = [line for line in example.read_text().split('"""')[1].splitlines() if line.strip().startswith(("│", "┌", "├", "└"))]
    assert [line.split("│")[0] for line in done.stdout.splitlines() if line] == [line.strip().split("│")[0] for line in shown]
