"""The report of the demonstration: what named queries say of a model, in a page of text."""

import json

from deephys_sql.store import Store

SHOWN = 3  # neurons of each kind


def write(store: Store, model: str, layer: str) -> str:
    """Return accuracy, scores, neurons and confusions of a model as text, read from the store by named queries.

    >>> print(write(store, "colored_mnist", "linear1"))  # doctest: +SKIP
    """
    recordings = [row for row in store.query("recordings").to_dicts() if row["model"] == model]
    (reference,) = [row["dataset"] for row in recordings if row["is_reference"]]
    datasets = [row["dataset"] for row in recordings if not row["is_reference"]]
    lines = [f"Why does {model} fail? Layer {layer}, measured against {reference}.", "", "accuracy"]
    lines += [f"  {r['dataset']:<14} {r['accuracy']:7.2%}{'   the reference' if r['is_reference'] else ''}" for r in recordings]
    lines += ["", f"scores over the neurons of {layer}", _row("dataset", "score", "median", "quartiles", "mode", "std")]
    summary = store.query("score_summary", model=model, layer=layer).to_dicts()
    for score in ("spurious", "novelty", "response_loss"):
        modes = {} if score == "response_loss" else _modes(store, model, layer, score)
        for row in sorted((r for r in summary if r["score"] == score), key=lambda r: datasets.index(r["dataset"])):
            quartiles = f"{_number(row['q25'])} to {_number(row['q75'])}"
            mode = _number(modes.get(row["dataset"]))
            lines.append(_row(row["dataset"], score, _number(row["median"]), quartiles, mode, _number(row["std"])))
    for dataset in datasets:
        lines += ["", f"{dataset}: neurons that fire for other categories than in {reference} (most spurious)"]
        lines += _neurons(store, model, layer, dataset, "spurious")
        lines += [f"{dataset}: neurons whose feature is missing (most novel)"]
        lines += _neurons(store, model, layer, dataset, "novelty")
        lines += _confusion(store, model, layer, dataset)
    lines += [
        "",
        f"Ask further:  deephys-sql info {store.path}",
        f"              deephys-sql query {store.path} ranked_neurons --model {model} --layer {layer} --dataset {datasets[0]!r}",
        f'              deephys-sql sql {store.path} "select * from neuron_score where neuron = 7"',
        f"Browse it:    deephys-sql serve {store.path}   shows it at http://127.0.0.1:8001/",
    ]
    return "\n".join(lines)


def _modes(store: Store, model: str, layer: str, score: str) -> dict[str, float]:
    points = store.query("score_density", model=model, layer=layer, score=score).to_dicts()
    return {point["dataset"]: point["position"] for point in points if point["is_mode"]}


def _neurons(store: Store, model: str, layer: str, dataset: str, score: str) -> list[str]:
    rows = store.query("ranked_neurons", model=model, layer=layer, dataset=dataset, score=score, k=SHOWN).to_dicts()
    return [
        f"  neuron {row['neuron']:>2}  {score} {row['score']:.2f}   fires most for {row['reference_category']} "
        f"({row['reference_response']:.2f}) in the reference, for {row['category']} ({row['response']:.2f}) here"
        for row in rows
    ]


def _confusion(store: Store, model: str, layer: str, dataset: str) -> list[str]:
    mistakes = store.query("confusion_matrix", model=model, dataset=dataset, mistakes_only=1).to_dicts()
    if not mistakes:
        return [f"{dataset}: no mistakes"]
    worst = mistakes[0]
    neurons = store.query(
        "top_neurons_of_confusion", model=model, layer=layer, datasets=json.dumps([dataset]), a=worst["label_name"],
        b=worst["predicted_name"], direction="a_as_b", k=SHOWN,
    ).to_dicts()  # fmt: skip
    driven = ", ".join(f"{row['neuron']} ({row['response']:.2f})" for row in neurons)
    return [
        f"{dataset}: most frequent confusion: {worst['label_name']} taken for {worst['predicted_name']}, {worst['images']} images "
        f"({worst['share']:.0%} of the {worst['label_name']}s); driven by neurons {driven}"
    ]


def _row(*cells: str) -> str:
    widths = (14, 14, 6, 12, 5, 5)
    padded = [f"{cell:{'<' if place < 2 else '>'}{widths[place]}}" for place, cell in enumerate(cells)]
    return "  " + " ".join(padded)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
