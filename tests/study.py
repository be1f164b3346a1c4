"""Small studies to record, rich in ties, zeros, silent neurons, unknown labels and missing categories."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

UNKNOWN = -1


@dataclass
class Part:
    """What a model did on one dataset: labels, logits, and activations by layer."""

    labels: np.ndarray
    logits: np.ndarray
    activations: dict[str, np.ndarray]

    @property
    def images(self):
        return len(self.labels)


@dataclass
class Study:
    """Some datasets; the first is the reference."""

    parts: dict[str, Part]
    categories: list[str]
    reference: str = field(init=False)

    def __post_init__(self):
        self.reference = next(iter(self.parts))

    def record(self, store, model="net", **options):
        """Record every dataset, under `model` and the names in `parts`."""
        for dataset, part in self.parts.items():
            record(store, model, dataset, part, self.categories, **options)

    def cells(self):
        """Each (layer, dataset, activations there, activations in the reference)."""
        for dataset, part in self.parts.items():
            for layer, matrix in part.activations.items():
                yield layer, dataset, matrix, self.parts[self.reference].activations[layer]


def record(store, model, dataset, part, categories, **options):
    """Record one part, as float32."""
    store.add_recording(
        model=model,
        dataset=dataset,
        activations=part.activations,
        logits=part.logits,
        labels=part.labels,
        categories=categories,
        progress=False,
        **options,
    )


def add_runs(store, folder, model="net"):
    """Add two steps of a run of the model, and a run of no model."""
    rows = [f"r1,{model},0.001,3,first,1,0.25", f"r1,{model},0.001,3,first,2,0.5", "r2,,0.1,3,second,1,0.125"]
    (folder / "runs.csv").write_text("\n".join(["run,params.model,params.weight_decay,params.epoch,tags.note,step,accuracy", *rows]))
    store.add_experiments(folder / "runs.csv", progress=False)


def add_annotations(store, author="ada"):
    """Say something of a neuron and of an image."""
    store.annotate(model="net", layer="fc", neuron=3, judgement="spurious", note="fires for grass", tags=["colour"], author=author)
    store.annotate(dataset="shifted", image=4, note="blurry", author=author)


def random_study(seed=0, images=(60, 45, 130), categories=6):
    """Three datasets, two layers of 8 and 70 neurons; values are multiples of 1/8, so that many are equal.

    Layer `conv`: neuron 0 is negative in the reference and positive elsewhere, 1 is zero, 2 is constant, 3 is silent
    outside the reference. Category 5 is missing in the reference, category 4 in `shifted`; `unlabelled` has no labels.
    """
    rng = np.random.default_rng(seed)
    parts = {}
    for name, count in zip(("clean", "shifted", "unlabelled"), images, strict=True):
        conv = np.round(rng.normal(size=(count, 8)) * 8) / 8
        fc = np.round(rng.normal(size=(count, 20)) * 8) / 8
        fc = np.concatenate([fc, np.round(np.random.default_rng([seed, count]).normal(size=(count, 50)) * 8) / 8], axis=1)
        conv[:, 0] = -abs(conv[:, 0]) - 1 if name == "clean" else abs(conv[:, 0])
        conv[:, 1] = 0
        conv[:, 2] = 2.5
        conv[:, 3] = abs(conv[:, 3]) if name == "clean" else -1
        labels = rng.integers(-1, categories, count)
        labels[labels == {"clean": 5, "shifted": 4, "unlabelled": UNKNOWN}[name]] = 0
        if name == "unlabelled":
            labels[:] = UNKNOWN
        logits = np.round(rng.normal(size=(count, categories)) * 2)
        known = labels >= 0
        logits[known, labels[known]] += rng.integers(0, 4, known.sum())
        activations = {"conv": conv.astype(np.float32), "fc": fc.astype(np.float32)}
        parts[name] = Part(labels, logits.astype(np.float32), activations)
    return Study(parts, [f"category {i}" for i in range(categories)])


# Strategies of Hypothesis.

TIES = st.sampled_from([0.0, -0.0, -1.0, -2.5, 0.5, 1.0, 1.0, 2.0, 3.0, 7.0, 2**-20, 1e6])
NUMBERS = st.floats(-1e3, 1e3, width=32)


@st.composite
def matrices(draw, images, neurons):
    """float32, images x neurons; a column is drawn from few values, from any, or is zero, negative or constant."""
    columns = [draw(columns_of(images)) for _ in range(neurons)]
    return np.stack(columns, axis=1).astype(np.float32)


@st.composite
def columns_of(draw, images):
    kind = draw(st.sampled_from(["ties", "ties", "numbers", "zero", "negative", "constant"]))
    if kind == "zero":
        return np.zeros(images)
    if kind == "negative":
        return -np.abs(draw(arrays(np.float32, images, elements=NUMBERS)))
    if kind == "constant":
        return np.full(images, draw(TIES))
    return draw(arrays(np.float32, images, elements=TIES if kind == "ties" else NUMBERS))


@st.composite
def studies(draw, most_images=16, most_neurons=4, most_categories=6):
    """A reference `clean` and a dataset `shifted`, one layer `fc`; labels may be unknown, categories missing."""
    categories = draw(st.integers(1, most_categories))
    neurons = draw(st.integers(1, most_neurons))
    parts = {}
    for name in ("clean", "shifted"):
        images = draw(st.one_of(st.just(1), st.integers(1, most_images), st.integers(most_images // 2, most_images)))
        known = draw(st.sets(st.integers(0, categories - 1), min_size=1)) if draw(st.booleans()) else range(categories)
        labels = draw(st.lists(st.sampled_from([UNKNOWN, *known, *known]), min_size=images, max_size=images))
        logits = draw(arrays(np.float32, (images, categories), elements=st.sampled_from([-3.0, 0.0, 0.0, 1.0, 2.0, 30.0])))
        parts[name] = Part(np.array(labels), logits, {"fc": draw(matrices(images, neurons))})
    return Study(parts, [f"category {i}" for i in range(categories)])


def renamed(study, number):
    """The same study with datasets of other names, so that many fit into one store."""
    return Study({f"{name} {number}": part for name, part in study.parts.items()}, study.categories)
