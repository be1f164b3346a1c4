"""Scores of neurons in array code: what the macro `score_rows` computes, the same to the last bit, several times as fast.

What a score is stands in `queries/views/50_scores.sql`, for any client of DuckDB. Here the ranking, which is what takes time,
is a sort of rows by NumPy in place of DuckDB's windows.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from scipy.stats import rankdata
from tqdm.auto import tqdm

from deephys_sql import assets
from deephys_sql.errors import StoreDamagedError
from deephys_sql.names import layer_title

VALUES_AT_ONCE = 2**20  # category responses of neurons that are scored together: 8 MB of float64, and some 15 copies of it
DIGITS = 1e9  # means that agree when rounded to 9 digits are ties


@dataclass(frozen=True)
class Asked:
    """The scores of one layer: of a recording, against that of a reference, which there may not be."""

    layer_id: int
    recording_id: int
    reference_recording_id: int | None


@dataclass(frozen=True)
class Responses:
    """Sums over the images of each category that has any: neurons x categories."""

    categories: np.ndarray
    images: np.ndarray
    sums: np.ndarray


def find(connection: duckdb.DuckDBPyConnection, model: str, layer: str, dataset: str, reference: str | None) -> Asked | None:
    """Return what is asked for by names; None when the dataset was recorded without the layer."""
    names = {"model": model, "layer": layer, "dataset": dataset, "reference": reference}
    rows = connection.execute(assets.sql("scores/select_asked.sql"), names).fetchall()
    return Asked(*rows[0]) if rows else None


def scores(connection: duckdb.DuckDBPyConnection, layer: str, asked: Asked, *, progress: bool = False) -> duckdb.DuckDBPyRelation:
    """Return the rows of the macro `scores`: as they are kept, which they are against the model's default reference, or else computed."""
    kept = connection.sql(assets.sql("scores/select_kept.sql"), params=dataclasses.asdict(asked))
    if kept.limit(1).fetchall():
        return kept
    rows = pa.concat_tables(compute(connection, asked, progress=progress)).drop_columns([field.name for field in dataclasses.fields(Asked)])
    return connection.from_arrow(rows.add_column(0, "layer", pa.repeat(layer, len(rows))))


def stand_in(cursor: duckdb.DuckDBPyConnection, rows: pa.Table) -> None:
    """Let rows that `compute` gave stand in place of what the macro `score_rows` would compute, for one cursor; it gives no others then."""
    cursor.from_arrow(rows).query("computed", "create temp table computed_score as from computed")
    cursor.execute(assets.sql("scores/stand_in.sql"))


def compute(connection: duckdb.DuckDBPyConnection, asked: Asked, *, progress: bool = False) -> Iterator[pa.Table]:
    """Give the scores of a layer, some neurons at a time in their order: rows of `stored_neuron_score`.

    >>> import deephys_sql as dp, tempfile
    >>> with dp.open(tempfile.mkdtemp() + "/study.duckdb") as store, store.transaction() as connection:
    ...     for dataset in ("day", "night"):
    ...         given = {"activations": {"fc": np.ones((3, 4))}, "logits": np.eye(3), "labels": [0, 1, 2]}
    ...         store.add_recording(model="net", dataset=dataset, progress=False, **given)
    ...     asked = find(connection, "net", "fc", "night", "day")
    ...     [table["activation_ratio"].to_pylist() for table in compute(connection, asked)]
    [[1.0, 1.0, 1.0, 1.0]]

    The columns are the three ids of `asked` and neuron, int32, and those of `score`.
    Raises `StoreDamagedError` when the neurons of a layer have responses to different categories.
    """
    here = {"layer_id": asked.layer_id, "recording_id": asked.recording_id}
    there = {"layer_id": asked.layer_id, "recording_id": asked.reference_recording_id}
    ((categories,),) = connection.execute(assets.sql("scores/select_category_count.sql"), {"recording_id": asked.recording_id}).fetchall()
    step = max(1, VALUES_AT_ONCE // max(1, categories))
    neurons = connection.sql(assets.sql("scores/select_neurons.sql"), params=dataclasses.asdict(asked)).to_arrow_table()
    with tqdm(total=len(neurons), desc="scores", unit=" neurons", delay=1, disable=None if progress else True) as bar:
        for first in range(0, len(neurons), step):
            part = neurons.slice(first, step)
            numbers = part["neuron"].to_numpy()
            columns = score(
                part["maximum"].to_numpy(),
                part["reference_maximum"].to_numpy(),  # NaN for NULL
                _read(connection, here, numbers),
                _read(connection, there, numbers),
            )
            ids = {name: pa.repeat(pa.scalar(number, pa.int32()), len(part)) for name, number in dataclasses.asdict(asked).items()}
            yield pa.table({**ids, "neuron": numbers, **columns})
            bar.update(len(part))


def score(maximum: np.ndarray, reference_maximum: np.ndarray, here: Responses, there: Responses) -> dict[str, pa.Array]:
    """Return the scores of neurons by name, from the largest response of each and its category responses.

    >>> here = Responses(np.arange(3), np.array([2, 2, 2]), np.array([[2.0, 4.0, 6.0]]))
    >>> there = Responses(np.arange(3), np.array([1, 1, 1]), np.array([[4.0, 2.0, 1.0]]))
    >>> found = score(np.array([6.0]), np.array([4.0]), here, there)
    >>> {name: values.to_pylist()[0] for name, values in found.items() if name in ("activation_ratio", "response_loss", "spurious")}
    {'activation_ratio': 1.5, 'response_loss': 0.25, 'spurious': 0.0}

    maximum, reference_maximum: of each neuron in the recording and in the reference, neurons, float64, in the units of activations;
        NaN where the reference lacks it.
    here, there: of the recording and of the reference; categories and images: categories, integers; sums: neurons x categories, float64,
        of positive parts, in the units of activations.
    Returns columns of `stored_neuron_score`, one value a neuron: activation_ratio, response_loss, novelty and spurious, float64 without
        a unit, NULL where they are not defined; reason, text; fewest_images, int32.
    """
    scale = np.where(reference_maximum > 0, reference_maximum, np.nan)[:, None]
    means, reference_means = (side.sums / (side.images * scale) for side in (here, there))
    _, shared, reference_shared = np.intersect1d(here.categories, there.categories, assume_unique=True, return_indices=True)
    loss = _largest(reference_means) - _largest(means)
    spurious, fewest = np.full(len(maximum), np.nan), None
    heard = reference_maximum > 0
    if len(shared):
        fewest = min(here.images[shared].min(), there.images[reference_shared].min())
    if len(shared) >= 3:
        spurious[heard] = 1 - np.abs(_spearman(means[heard][:, shared], reference_means[heard][:, reference_shared]))
    with np.errstate(invalid="ignore"):
        return {
            "activation_ratio": _nullable(maximum / scale[:, 0]),
            "response_loss": _nullable(loss),
            "novelty": _nullable(np.where(loss > 0, loss, np.nan)),
            "spurious": _nullable(spurious),
            "reason": pa.array(
                np.select(
                    [np.isnan(reference_maximum), ~heard, np.full(len(heard), len(shared) < 3), np.isnan(spurious)],
                    ["not_in_reference", "silent_in_reference", "few_categories", "constant"],
                    None,
                ),
                pa.string(),
            ),
            "fewest_images": pa.array(np.full(len(heard), fewest or 0), pa.int32(), mask=~heard | (fewest is None)),
        }


def _read(connection: duckdb.DuckDBPyConnection, ids: dict[str, int | None], neurons: np.ndarray) -> Responses:
    bounds = {"first": int(neurons[0]), "last": int(neurons[-1])}
    rows = connection.sql(assets.sql("scores/select_responses.sql"), params={**ids, **bounds}).to_arrow_table()
    width, rest = divmod(len(rows), len(neurons))
    categories, images, sums = (rows[name].to_numpy() for name in ("category", "images", "response_sum"))
    if rest or any((column.reshape(len(neurons), width) != column[:width]).any() for column in (categories, images)):
        raise StoreDamagedError(
            f"{layer_title(connection, **ids)}: the neurons {bounds['first']} to {bounds['last']} don't have responses to the same "
            f"categories, so they can't be scored. Run `deephys-sql check` on the store, and record again."
        )
    return Responses(categories[:width], images[:width], sums.reshape(len(neurons), width))


def _largest(means: np.ndarray) -> np.ndarray:
    """Return the largest mean of each neuron; NaN without categories, or where the neuron is silent in the reference."""
    return means.max(axis=1) if means.shape[1] else np.full(len(means), np.nan)


def _spearman(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of each row; NaN where a side is constant.

    Ranks are doubled, so that average ranks are whole numbers, and sums of products exact. Up to 300,000 categories they are
    so as float64 too; up to a million in 64 bits.
    """
    first, second = (np.rint(2 * rankdata(_rounded(side), axis=1)).astype(np.int64) for side in (left, right))
    count = left.shape[1]
    covariance, variance, other_variance = (
        (np.einsum("ij,ij->i", *pair) - count * (count + 1) ** 2).astype(float)
        for pair in ((first, second), (first, first), (second, second))
    )
    with np.errstate(invalid="ignore"):
        return covariance / np.sqrt(variance * other_variance)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Return values that are not negative, rounded to 9 digits as DuckDB does: halves upwards, where NumPy's go to the even digit."""
    scaled = values * DIGITS
    whole = np.trunc(scaled)
    return (whole + (scaled - whole >= 0.5)) / DIGITS


def _nullable(values: np.ndarray) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))
