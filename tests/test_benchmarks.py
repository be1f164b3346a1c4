"""The benchmarks compare like with like: all forms of a question give the same answer. No test here looks at times."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@pytest.fixture
def benchmark(monkeypatch):
    """Give a function that imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(BENCHMARKS):
            del sys.modules[name]


def test_other_answers_are_refused(benchmark):
    """Forms that give different answers are no comparison."""
    measure = benchmark("measure")
    with pytest.raises(ValueError, match=r"'other' gives 2, and 'one' 1 \(turn 1\)"):
        measure.interleaved({"one": lambda turn: 1, "other": lambda turn: 1 + turn}, turns=1)


def test_forms_take_turns(benchmark):
    """Forms are called once a turn, in an order that changes, and the turn that warms up isn't counted."""
    measure, called = benchmark("measure"), []
    forms = {name: lambda turn, name=name: called.append((turn, name)) for name in "ab"}
    taken = measure.interleaved(forms, turns=2)
    assert called == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]
    assert [len(form.timings) for form in taken.values()] == [2, 2]


def test_ratios_are_of_the_same_turn(benchmark):
    """A ratio is the median of the ratios of each turn, with its spread."""
    measure = benchmark("measure")
    mine, theirs = (measure.Taken([measure.Timing(wall, 0) for wall in walls]) for walls in ((2, 9, 8), (1, 3, 8)))
    assert mine.ratio(theirs) == "2.00 (1.00 to 3.00)"


def test_questions_have_one_answer(benchmark, tmp_path):
    """NumPy, torch, Polars and HDF5 answer what the store answers."""
    questions = benchmark("questions")
    study = questions.Study(images=600, neurons=64, datasets=2, categories=20)
    asked, beside = questions.Asked(study, study.store(tmp_path)), questions.Beside(study, tmp_path)
    for subject in (questions.top_images, questions.top_neurons, questions.scores, questions.similar, questions.similar_on):
        for question in subject(asked, beside):
            answers = {name: form(1) for name, form in question.forms.items()}
            assert all(answers.values()), question.title
            assert len(set(map(str, answers.values()))) == 1, (question.title, answers)


def test_plans_tell_what_is_read(benchmark, tmp_path):
    """A question's plan names the tables that it reads, each step in a line."""
    plans, questions = benchmark("plans"), benchmark("questions")
    study = questions.Study(images=300, neurons=16, datasets=2, categories=20)
    asked = plans.Profiled(study, study.store(tmp_path))
    tables = {
        "top 100 images of a neuron, from the summary": "stored_top_image",
        "top 100 images of a neuron, of one metadata": "stored_activation",
        "top neurons of a confusion set": "stored_activation",
    }
    for question in [*questions.top_images(asked, None), *questions.top_neurons(asked, None)]:
        row, plan = plans.profiled(asked, question, turns=2)
        assert row[0] == question.title and int(row[-1]) == len(plan)
        assert any(f"table_scan {tables.get(question.title, 'stored_')}" in line for line in plan)
