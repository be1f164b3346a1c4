"""What is in a store, by name, and results that are kept as long as its file is the same."""

import weakref
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from deephys_sql import query
from deephys_sql.site.database import StoreDatabase, Version

KEPT = 512  # results of a version of a store
_kept: "weakref.WeakKeyDictionary[Version, OrderedDict]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Recording:
    """A dataset on which the page's model was recorded; accuracy, and drop from the model's default reference, are None without labels."""

    dataset: str
    images: int
    accuracy: float | None
    drop: float | None


@dataclass(frozen=True)
class Names:
    """What is in a store, by name; `recordings[model]` in the order of their drop from the reference, that one first.

    `made[model]` are the layers of directions, which were made from others.
    """

    models: dict[str, str | None]
    layers: dict[str, dict[str, int]]
    outputs: dict[str, str | None]
    made: dict[str, set[str]]
    recordings: dict[str, dict[str, Recording]]
    categories: dict[str, dict[int, str]]

    def default_layer(self, model: str) -> str | None:
        """Return the layer that is shown first: the last one that was recorded, but the output."""
        layers = self.layers[model]
        others = {self.outputs.get(model), *self.made[model]}
        return next((name for name in reversed(layers) if name not in others), None) or next(iter(layers), None)


def kept(database: StoreDatabase) -> OrderedDict:
    """Return what is kept of the store's present version; it goes when the version does."""
    return _kept.setdefault(database.version(), OrderedDict())


async def names_of(database: StoreDatabase) -> Names:
    """Return what is in a store; kept until its file changes."""
    results = kept(database)
    if "names" in results:
        results.move_to_end("names")
        return results["names"]
    models = (await database.query("select model, reference, category_list from model order by model")).rows
    layers = (await database.query("select model, layer, neurons, made_from from layer order by model, position")).rows
    categories = (await database.query("select category_list, category, category_name from category order by all")).rows
    outputs = (await database.query("select model, max(output_layer) as output from recording group by model")).rows
    recordings = (await database.query(query.available()["recordings"].text)).rows
    results["names"] = Names(
        models={row["model"]: row["reference"] for row in models},
        layers={name: {row["layer"]: row["neurons"] for row in layers if row["model"] == name} for name in _column(models, "model")},
        made={name: {row["layer"] for row in layers if row["model"] == name and row["made_from"]} for name in _column(models, "model")},
        outputs={row["model"]: row["output"] for row in outputs},
        recordings={
            name: {
                row["dataset"]: Recording(row["dataset"], row["images"], row["accuracy"], row["drop"])
                for row in recordings
                if row["model"] == name
            }
            for name in _column(models, "model")
        },
        categories={
            model["model"]: {row["category"]: row["category_name"] for row in categories if row["category_list"] == model["category_list"]}
            for model in models
        },
    )
    return results["names"]


def _column(rows: Iterable, name: str) -> list:
    return [row[name] for row in rows]
