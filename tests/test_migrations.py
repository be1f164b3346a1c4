"""Stores of earlier schemas become what this package would have recorded."""

import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest
import study as make

import deephys_sql as dp
from deephys_sql import assets
from deephys_sql.errors import StoreDamagedError

TABLES = ("stored_category_response", "stored_strongest_category")
ADDED = [("stored_top_image", column) for column in ("place_row", "place_column")]
ADDED += [("stored_prediction", column) for column in ("label", "label_name", "predicted_name")]
BESIDE = ("label", "label_name", "predicted", "predicted_name")  # top images
DISTRIBUTIONS = ("stored_histogram", "stored_example")
READ_AGAIN = (*DISTRIBUTIONS, "stored_image_norm")


def rows(path: Path, tables: tuple[str, ...] = TABLES) -> dict[str, list[tuple]]:
    """The rows of the tables that the migration touches, in the order in which they lie."""
    with duckdb.connect(str(path), config={"threads": 1}) as connection:
        return {table: connection.execute(f"from {table}").fetchall() for table in tables}


def undo_models_of_runs(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave a store as migration 12 finds it."""
    connection.execute("drop table stored_named_run")
    connection.execute("delete from stored_migration where version >= 12")


def undo_pictures(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave a store as migration 11 finds it."""
    undo_models_of_runs(connection)
    first = (assets.folder("migrations") / "0001_store.sql").read_text()
    start = first.index("create table stored_image (")
    connection.execute("create temp table kept_image as from stored_image")
    connection.execute("drop table stored_image")
    connection.execute(first[start : first.index("create table stored_model")])
    connection.execute("insert into stored_image from kept_image; drop table kept_image")
    connection.execute("delete from stored_migration where version >= 11")


def undo_beside_top_images(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave a store as migration 10 finds it."""
    undo_pictures(connection)
    for column in BESIDE:
        connection.execute(f"alter table stored_top_image drop column {column}")
    connection.execute("drop table stored_image_norm")
    connection.execute("delete from stored_migration where version >= 10")


def undo_activations_once(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave a store as migration 9 finds it: activations a row each, and by image, 16 neurons a row."""
    undo_beside_top_images(connection)
    connection.execute("create temp table recorded as from stored_value")
    connection.execute("drop table stored_activation; drop table stored_piece; drop table stored_neuron; drop sequence piece_number")
    first = (assets.folder("migrations") / "0001_store.sql").read_text()
    connection.execute(first[first.index("create table stored_activation") :])
    connection.execute("insert into stored_activation select recording_id, layer_id, neuron, image, value from recorded")
    connection.execute(
        """
        insert into stored_image_activation
        select recording_id, layer_id, image, neuron // 16, list_resize(list(value order by neuron), 16, 0)::float[16]
        from recorded
        group by all
        """
    )
    connection.execute((assets.folder("migrations") / "0006_reference_maximum.sql").read_text())
    connection.execute("drop table recorded")
    connection.execute("delete from stored_migration where version >= 9")


def undo_distributions(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave a store as the migration that brings histograms and examples finds it."""
    undo_activations_once(connection)
    for table in DISTRIBUTIONS:
        connection.execute(f"drop table {table}")
    connection.execute("delete from stored_migration where version >= 8")


def undo_since_places_and_directions(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave a store as migration 5 finds it."""
    undo_distributions(connection)
    for table in ("stored_reference_maximum", "stored_feature_map", "stored_directions", "stored_direction"):
        connection.execute(f"drop table {table}")
    for table, column in ADDED:
        connection.execute(f"alter table {table} drop column {column}")
    connection.execute("delete from stored_migration where version >= 5")


def test_places_and_directions(tmp_path: Path) -> None:
    """Migrations 5 to 7 leave what was recorded as it was, without places; layers of directions can be made of it."""
    path = tmp_path / "study.duckdb"
    maxima = "select recording_id, layer_id, neuron, reference_max from stored_neuron order by all"
    predictions = "select * from prediction order by all"
    with dp.open(path) as store:
        make.random_study().record(store)
        wanted = store.sql("select * from top_image order by all").fetchall()
        layers = store.sql("select * from layer order by all").fetchall()
        reference_maxima = store.sql(maxima).fetchall()
        predicted = store.sql(predictions).fetchall()
    distributions = rows(path, DISTRIBUTIONS)
    with duckdb.connect(str(path)) as connection:
        undo_since_places_and_directions(connection)
    assert dp.migrate(path) is not None
    assert rows(path, DISTRIBUTIONS) == distributions
    with dp.open(path) as store:
        assert store.check() == []
        assert store.sql("select * from top_image order by all").fetchall() == wanted
        assert store.sql("select * from layer order by all").fetchall() == layers
        assert store.sql(maxima).fetchall() == reference_maxima != []
        assert store.sql(predictions).fetchall() == predicted
        assert {row[-6:] for row in wanted} == {(None,) * 6}
        store.add_directions("fc", "first", np.eye(1, 70), model="net", progress=False)
        values = "select list(value order by dataset, image) from activation where layer = $layer and neuron = 0"
        assert store.sql(values, layer="first").fetchall() == store.sql(values, layer="fc").fetchall()
        make.random_study().record(store, "other")


def test_strongest_category(tmp_path: Path) -> None:
    """Migration 4 gives an older store the strongest categories, and the order of responses, that a new one has."""
    rng = np.random.default_rng(0)
    categories = [f"category {i}" for i in range(300)]  # more than two chunks
    labels = rng.integers(-1, 300, 700)
    labels[labels == 130] = 131
    path = tmp_path / "study.duckdb"
    with dp.open(path) as store:
        make.random_study().record(store, "other")
        for dataset in ("clean", "shifted"):
            activations = np.maximum(np.round(rng.normal(size=(700, 20))), 0).astype(np.float32)  # many equal means
            activations[:, 3] = 0
            store.add_recording(
                model="net", dataset=f"{dataset} too", activations={"fc": activations}, predictions=labels % 300, labels=labels,
                categories=categories, progress=False,
            )  # fmt: skip
    wanted = rows(path)
    with duckdb.connect(str(path)) as connection:  # as migration 1 left it
        connection.execute("create temp table kept as from stored_category_response")
        connection.execute("drop table stored_category_response")
        first = (assets.folder("migrations") / "0001_store.sql").read_text()
        start = first.index("create table stored_category_response")
        connection.execute(first[start : first.index("create table stored_neuron_score")])
        connection.execute("insert into stored_category_response from kept order by recording_id, layer_id, neuron, category")
        connection.execute("drop table stored_strongest_category")
        connection.execute("delete from stored_migration where version = 4")
        undo_since_places_and_directions(connection)
    assert dp.migrate(path) is not None
    assert rows(path) == wanted
    assert len(wanted["stored_strongest_category"]) == 2 * (8 + 70 + 6) + 2 * 20
    with dp.open(path) as store:
        assert store.check() == []


def test_distributions(tmp_path: Path) -> None:
    """Histograms and examples of what was recorded before they were kept are those that a recording gets now, over several blocks too."""
    rng = np.random.default_rng(0)
    path = tmp_path / "study.duckdb"
    with dp.open(path) as store:
        make.random_study().record(store, "other")
        for dataset in ("clean", "shifted"):
            activations = np.maximum(rng.normal(size=(5000, 20)), 0).astype(np.float32)
            store.add_recording(
                model="net", dataset=f"{dataset} too", activations={"fc": activations}, predictions=[0] * 5000, categories=["a"],
                progress=False,
            )  # fmt: skip
        store.add_directions("fc", "axes", -np.eye(3, 20), model="net", progress=False)
    wanted = rows(path, READ_AGAIN)
    assert len(wanted["stored_histogram"]) == 3 * (8 + 70 + 6) + 2 * (20 + 3)
    assert len(wanted["stored_example"]) == 8 * 5 * len(wanted["stored_histogram"])
    assert len(wanted["stored_image_norm"]) == 3 * (60 + 45 + 130) + 2 * 2 * 5000
    with duckdb.connect(str(path)) as connection:
        undo_distributions(connection)
    assert dp.migrate(path) is not None
    found = rows(path, READ_AGAIN)
    assert {table: sorted(found[table]) for table in READ_AGAIN} == {table: sorted(wanted[table]) for table in READ_AGAIN}
    with dp.open(path) as store:
        assert store.check() == []


def test_beside_top_images(tmp_path: Path) -> None:
    """Migration 10 leaves top images and predictions as they were, and gives older stores the norms that a recording gets now."""
    path = tmp_path / "study.duckdb"
    with dp.open(path) as store:
        make.random_study().record(store)
        make.random_study().record(store, "other")
        store.add_directions("fc", "axes", -np.eye(3, 70), model="net", progress=False)
    tables = ("stored_top_image", *READ_AGAIN)
    wanted = rows(path, tables)
    with duckdb.connect(str(path)) as connection:
        undo_beside_top_images(connection)
    assert dp.migrate(path) is not None
    found = rows(path, tables)
    assert {table: sorted(found[table], key=str) for table in tables} == {table: sorted(wanted[table], key=str) for table in tables}
    with dp.open(path) as store:
        assert store.check() == []


def test_pictures(tmp_path: Path) -> None:
    """Migration 11 leaves images as they were, in their order; nothing tries to compress pictures then, as in a new store."""
    rng = np.random.default_rng(0)
    path = tmp_path / "study.duckdb"
    compressed = (
        "select distinct column_name, compression from pragma_storage_info('stored_image') where segment_type = 'BLOB' order by all"
    )
    with dp.open(path) as store:
        make.random_study().record(store)
        store.add_recording(
            model="seeing", dataset="seen", activations={"fc": rng.normal(size=(300, 4))}, predictions=np.arange(300) % 6,
            labels=np.arange(300) % 6, categories=list("abcdef"), images=rng.integers(0, 256, (300, 16, 16, 3), np.uint8), progress=False,
            image_metadata=[{"number": number} for number in range(300)], keep_originals=True,
        )  # fmt: skip
        new = store.sql(compressed).fetchall()
    assert {kind for _, kind in new} == {"Uncompressed"} and len(new) == 3
    wanted = rows(path, ("stored_image",))
    with duckdb.connect(str(path)) as connection:
        undo_pictures(connection)
        connection.execute("checkpoint")
        assert connection.execute(compressed).fetchall() != new
    assert dp.migrate(path) is not None
    assert rows(path, ("stored_image",)) == wanted
    with dp.open(path) as store:
        assert store.check() == []
        assert store.sql(compressed).fetchall() == new


def test_models_of_runs(tmp_path: Path) -> None:
    """Migration 12 finds the model of each run of an older store."""
    path = tmp_path / "study.duckdb"
    with dp.open(path) as store:
        make.random_study().record(store)
        make.add_runs(store, tmp_path)
        runs = store.sql("select * from experiment order by run").fetchall()
        assert [row[1] for row in runs] == ["net", None]
    with duckdb.connect(str(path)) as connection:
        undo_models_of_runs(connection)
    assert dp.migrate(path) is not None
    with dp.open(path) as store:
        assert store.check() == []
        assert store.sql("select * from experiment order by run").fetchall() == runs


WIDTHS = (1, 16, 17, 32, 33, 63, 64, 65, 129)
VIEWS = ("activation", "response", "neuron_score", "top_image", "category_response", "neuron_summary")
LYING = {  # rows in the order in which they lie, those of layers that were recorded together one layer after the other
    "stored_piece": "from stored_piece",
    "stored_activation": "select a.* from stored_activation as a asof join stored_piece as p on a.piece >= p.first_piece "
    "order by p.first_piece, a.rowid",
    "stored_neuron": "from stored_neuron",
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store with layers of many widths, of two models, and of one on a dataset of two blocks of images; and as migration 9 finds it."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("recorded") / "study.duckdb"
    with dp.open(path) as store:
        for model, dataset, images in (("net", "clean", 30), ("other", "clean", 30), ("net", "shifted", 2100)):
            store.add_recording(
                model=model, dataset=dataset,
                activations={f"fc{width}": rng.normal(size=(images, width)) * (rng.random(width) > 0.2) for width in WIDTHS},
                predictions=np.arange(images) % 3, labels=np.arange(images) % 3, categories=["a", "b", "c"], progress=False,
            )  # fmt: skip
    old = Path(shutil.copy(path, path.with_name("old.duckdb")))
    with duckdb.connect(str(old)) as connection:
        undo_activations_once(connection)
    return path, old


@pytest.fixture
def old(stores: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of that store as migration 9 finds it."""
    return Path(shutil.copy(stores[1], tmp_path))


def test_activations_once(stores: tuple[Path, Path], old: Path) -> None:
    """Migration 9 leaves every activation, bit for bit, and what is made of it; they lie as if recorded now, in one table."""
    found = []
    before = old.read_bytes()
    assert dp.migrate(old).read_bytes() == before
    for path in (stores[0], old):
        with dp.open(path, read_only=True) as store:
            views = {view: store.sql(f"select * from {view} order by all").to_arrow_table() for view in VIEWS}
            tables = {table: store.sql(text).to_arrow_table() for table, text in LYING.items()}
            found.append(views | tables)
            assert store.check() == []
            left = "select count(*) from duckdb_tables() where table_name in ('stored_image_activation', 'stored_reference_maximum')"
            assert store.sql(left).fetchall() == [(0,)]
    assert found[0] == found[1]
    assert len(found[0]["activation"]) == (30 + 30 + 2100) * sum(WIDTHS)


def test_activations_once_go_on(old: Path) -> None:
    """What migration 9 moved is recorded again, deleted, added to and made into directions as any."""
    dp.migrate(old)
    with dp.open(old) as store:
        store.add_directions("fc33", "axes", np.eye(3, 33), model="net", progress=False)
        values = "select list(value order by dataset, image) from activation where model = 'net' and layer = $layer and neuron = 2"
        assert store.sql(values, layer="axes").fetchall() == store.sql(values, layer="fc33").fetchall()
        for dataset, replace in (("clean", True), ("new", False)):
            store.add_recording(
                model="other", dataset=dataset, activations={"fc65": np.full((30, 65), 2)}, predictions=[0] * 30,
                labels=np.arange(30) % 3, categories=["a", "b", "c"], replace=replace, progress=False,
            )  # fmt: skip
        found = "select dataset, count(*) from activation where model = 'other' and layer = 'fc65' and value = 2 group by all order by all"
        assert store.sql(found).fetchall() == [("clean", 30 * 65), ("new", 30 * 65)]
        assert store.check() == []


LAYER = (
    "(select recording_id, layer_id from stored_named_layer where model_name = 'net' and dataset_name = 'shifted' and layer_name = 'fc33')"
)
ROW = f"where image = 2090 and piece = 1 and (recording_id, layer_id) in {LAYER}"
FOURTH = "update stored_image_activation set values = list_transform(values, lambda v, i: if(i = 4, {}, v))::float[16]"
DAMAGES = {
    "a value": f"{FOURTH.format('v + 1')} {ROW}",
    "a value that is NULL": f"{FOURTH.format('null')} {ROW}",
    "a row deleted": f"delete from stored_image_activation {ROW}",
    "a row twice": f"insert into stored_image_activation from stored_image_activation {ROW}",
    "a row of another image": f"update stored_image_activation set image = 2091 {ROW}",
    "an image deleted": f"delete from stored_image_activation where image = 2090 and (recording_id, layer_id) in {LAYER}",
    "all deleted": f"delete from stored_image_activation where (recording_id, layer_id) in {LAYER}",
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_activations_are_not_moved(old: Path, what: str) -> None:
    """A store whose activations are not those that were recorded is not migrated: the message names the layer, the file stays as it is."""
    with duckdb.connect(str(old)) as connection:
        connection.execute(DAMAGES[what])
    before = old.read_bytes()
    with pytest.raises(StoreDamagedError, match="^net on shifted, layer fc33: .*damaged"):
        dp.migrate(old)
    assert old.read_bytes() == before
    assert [file.name for file in old.parent.iterdir()] == [old.name]
