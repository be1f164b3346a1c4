"""Records activations that are NumPy arrays already, and finds the neuron whose feature is missing in the new data.

    python examples/from_arrays.py

Three made-up neurons each look for one of three categories; in the second dataset neuron 2 has stopped responding. Its
output:

    ┌────────┬────────┬─────────┬─────────┐
    │ neuron │ ratio  │ novelty │ reason  │
    │ int32  │ double │ double  │ varchar │
    ├────────┼────────┼─────────┼─────────┤
    │      0 │    1.0 │    NULL │ NULL    │
    │      1 │    1.0 │    NULL │ NULL    │
    │      2 │    0.2 │    0.64 │ NULL    │
    └────────┴────────┴─────────┴─────────┘

    ┌───────┬───────┬──────────┬────────────┬────────────────┐
    │ rank  │ image │ response │ label_name │ predicted_name │
    │ int64 │ int32 │  double  │  varchar   │    varchar     │
    ├───────┼───────┼──────────┼────────────┼────────────────┤
    │     1 │   171 │      0.2 │ owl        │ owl            │
    │     2 │   233 │    0.197 │ owl        │ owl            │
    └───────┴───────┴──────────┴────────────┴────────────────┘
"""

import tempfile

import numpy as np

import deephys_sql as dp

random = np.random.default_rng(0)
categories = ["cat", "dog", "owl"]
labels = random.integers(0, 3, 300)
reference = np.eye(3)[labels] + random.normal(0, 0.1, (300, 3))
shifted = reference * [1, 1, 0.2]

with tempfile.TemporaryDirectory() as folder, dp.open(f"{folder}/study.duckdb") as store:
    for dataset, activations in {"day": reference, "night": shifted}.items():
        store.add_recording(
            model="toy",
            dataset=dataset,
            activations={"hidden": activations},
            logits=activations * 5,
            labels=labels,
            categories=categories,
            image_metadata=[{"camera": int(image % 2)} for image in range(300)],
            nonlinearity="none",
        )
    scores = "neuron, round(activation_ratio, 2) as ratio, round(novelty, 2) as novelty, reason"
    print(store.sql(f"select {scores} from neuron_score where layer = 'hidden' order by neuron"))
    best = store.query("top_images", model="toy", layer="hidden", neuron=2, dataset="night", where="metadata ->> 'camera' = '1'", k=2)
    print(best.project("rank, image, round(response, 3) as response, label_name, predicted_name"))
