"""A store: one DuckDB file, opened, brought up to date, recorded into and asked."""

import contextlib
import datetime
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from deephys_sql import annotations, assets, migrations, query, scores
from deephys_sql.check import find_problems
from deephys_sql.connection import failures_explained, use
from deephys_sql.errors import (
    InvalidInputError,
    QueryError,
    ReadOnlyError,
    RecordingInProgressError,
    StoreNotFoundError,
    UnknownNameError,
)
from deephys_sql.names import require_name, require_stored
from deephys_sql.publishing import InPlace, NewVersion, Published, recover
from deephys_sql.recording.arrays_recording import record_arrays
from deephys_sql.recording.directions_adding import add_directions
from deephys_sql.recording.request import RecordingRequest
from deephys_sql.recording.writer import WRITING_MEMORY, RecordingWriter, Transaction, derive
from deephys_sql.rows import Rows, parsed

if TYPE_CHECKING:
    from deephys_sql.experiments.importing import ImportedRuns
    from deephys_sql.recording.models import ModelRecorder


def open(path: str | os.PathLike, read_only: bool = False, *, in_place: bool = False) -> "Store":
    """Open a store, and create it when the file isn't there.

    >>> import deephys_sql as dp, tempfile
    >>> with dp.open(tempfile.mkdtemp() + "/study.duckdb") as store:
    ...     store.models().fetchall()
    []

    Any number of processes may have a store open, and one at a time records into it: on a copy beside the file, which takes
    the file's place when the recording is complete (see `deephys_sql.publishing`). An open store shows the version that was
    published when it was opened, or that it has published itself since.
    in_place: write the file itself, without a copy, for a store that is too large to copy; then no other process can have it
    open meanwhile, and after a crash the file is repaired when it is opened for writing the next time.
    Raises `StoreNotFoundError` (read-only, or no such folder), `NotAStoreError`, `StoreLockedError` with the process that
    writes the file itself, `StoreVersionError` for a store of another version.
    """
    return Store(Path(path), read_only=read_only, in_place=in_place)


def migrate(path: str | os.PathLike) -> Path | None:
    """Upgrade a store made by an older version; return where the old file is kept, None when it was up to date.

    >>> import deephys_sql as dp, tempfile
    >>> path = tempfile.mkdtemp() + "/study.duckdb"
    >>> dp.open(path).close()
    >>> dp.migrate(path) is None
    True

    Raises what `open` raises, `StoreLockedError` when somebody records into it, `StoreDamagedError` when activations are not those
    that were recorded: the file stays as it is.
    """
    path = Path(path)
    file = Path(os.path.realpath(path))
    if not file.exists():
        raise StoreNotFoundError(f"there is no file {path} to migrate.")
    recover(file)
    with failures_explained(path), NewVersion(file) as version, contextlib.closing(Published(file)) as published:
        todo = migrations.pending(published.connection, path)
        if not todo and migrations.has_views(published.connection):
            return None
        migrations.apply(version.begin(published.file), todo)
        backup = None
        if todo:
            moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
            backup = file.with_name(f"{file.name}.backup-{todo[0].version - 1:04d}-{moment}")
        version.publish(backup)
    return backup


class Store:
    """An open store; made by `open`. Use it in a `with` statement, or call `close`."""

    def __init__(self, path: Path, *, read_only: bool = False, in_place: bool = False):
        if read_only and in_place:
            raise InvalidInputError(f"{path} can't be opened both read-only and to be written in place. Choose one.")
        self.path = path
        self.read_only = read_only
        self.in_place = in_place
        self._file = Path(os.path.realpath(path))
        self._version: NewVersion | None = None
        self._transaction: Transaction | None = None
        self._writer: RecordingWriter | None = None
        self._names: dict[str, list[tuple]] = {}
        self._log = annotations.Log(self._file)
        if not self._file.exists():
            if read_only:
                raise StoreNotFoundError(
                    f"there is no file {path}, and a store opened read-only must be there. Check the path, or make the store first."
                )
            self._create()
        elif not read_only:
            recover(self._file)
        self._opened = InPlace(self._file) if in_place else Published(self._file)
        self._annotations = annotations.Gathered(self._opened.connection, self._log)
        try:
            self._bring_up_to_date()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {str(self.path)!r}{', read-only' if self.read_only else ''}>"

    def close(self) -> None:
        """Give the file free. A recording in progress is undone."""
        if self._transaction is not None:
            self._transaction.abort()
            self._transaction = self._writer = None
        if self._version is not None:
            self._version.discard()
        self._log.close()
        self._opened.close()

    # Asking.

    def sql(self, text: str, /, **parameters: Any) -> Rows | duckdb.DuckDBPyRelation:
        """Run one SQL statement on the store's views, with `$name` parameters.

        >>> import deephys_sql as dp, tempfile
        >>> store = dp.open(tempfile.mkdtemp() + "/study.duckdb")
        >>> store.sql("select $x + 1 as y", x=1).fetchall()
        [(2,)]

        Returns the rows, which are computed when they are read: `.fetchall()`, `.df()` (pandas), `.to_arrow_table()`, and whatever
        else a DuckDB relation has, such as `.columns`, `.pl()`, `.arrow()` (Arrow record batches), `.to_parquet(path)`; each of
        them runs the statement. One that is no SELECT, such as `copy (select ...) to 'file.csv'`, is run at once, and gives a relation.
        Raises `QueryError` with DuckDB's message when the statement can't be prepared; see `deephys_sql.rows.Rows` for errors that
        come up while rows are computed.
        """
        rows = self._rows(text, parameters)
        prepared = rows.relation  # so that mistakes in the statement are said now
        return rows if rows.is_select else prepared

    def query(self, name: str, /, **parameters: Any) -> Rows:
        """Run a named query, one of the files in `queries/`; `deephys-sql queries` lists them.

        >>> import deephys_sql as dp, tempfile
        >>> store = dp.open(tempfile.mkdtemp() + "/study.duckdb")
        >>> store.query("recordings").fetchall()
        []

        Returns what `sql` returns. Raises `UnknownNameError` for a query, a parameter, or a model, layer or dataset that
        isn't there, `QueryError` for a parameter of the wrong type, and when rows are read, for a condition with a column that
        isn't there.
        """
        known = query.available()
        require_name("query", name, known)
        text, bound = known[name].bind(parameters)
        self._require_names({parameter: bound[parameter] for parameter in parameters if parameter in bound})
        return self._rows(text, bound)

    def scores(
        self, model: str, layer: str, *, dataset: str, reference: str | None = None, progress: bool = True
    ) -> duckdb.DuckDBPyRelation:
        """Give the scores of a layer's neurons on a dataset, against any reference: the rows of the macro `scores`, sooner.

        >>> import deephys_sql as dp, numpy as np, tempfile
        >>> store = dp.open(tempfile.mkdtemp() + "/study.duckdb")
        >>> for dataset, values in {"day": [1, 2, 4], "night": [2, 1, 0]}.items():
        ...     store.add_recording(model="net", dataset=dataset, activations={"fc": np.array(values)[:, None]}, labels=[0, 1, 2],
        ...                         predictions=[0, 1, 2], categories=["cat", "dog", "owl"], progress=False)
        >>> store.scores("net", "fc", dataset="day", reference="night").df()[["neuron", "activation_ratio", "spurious"]]
           neuron  activation_ratio  spurious
        0       0               2.0       0.0

        reference: the dataset to measure against; without it the model's default reference, whose scores are kept and only read.
            Others are computed in array code when this is called, the same numbers to the last bit as those of the macro.

        Returns a DuckDB relation, a row a neuron in their order: layer, neuron, activation_ratio, response_loss, novelty, spurious
        (0..1), reason, fewest_images, as in the view `neuron_score`. Raises `UnknownNameError` for a model, layer or dataset that
        isn't there, or a recording without the layer.
        Source: Sarkar et al., "Deephys", sections 2.2, 4.4 and 4.5.
        """
        self._require_names({"model": model, "layer": layer, "dataset": dataset, "reference": reference})
        cursor = self._cursor()
        asked = scores.find(cursor, model, layer, dataset, reference)
        if asked is None:
            raise UnknownNameError(
                f"model {model!r} was recorded on dataset {dataset!r} without layer {layer!r}, so it has no scores there. "
                f"Name another dataset, or record that layer on it."
            )
        return scores.scores(cursor, layer, asked, progress=progress)

    def models(self) -> Rows:
        """The models and their default references.

        >>> import deephys_sql as dp, tempfile
        >>> dp.open(tempfile.mkdtemp() + "/study.duckdb").models().columns
        ['model', 'reference', 'category_list']
        """
        return self._rows("select * from model order by model")

    def datasets(self) -> Rows:
        """The datasets and their numbers of images.

        >>> import deephys_sql as dp, tempfile
        >>> dp.open(tempfile.mkdtemp() + "/study.duckdb").datasets().columns
        ['dataset', 'images', 'category_list']
        """
        return self._rows("select * from dataset order by dataset")

    def layers(self, model: str) -> Rows:
        """The layers of a model, in the order recorded.

        >>> import deephys_sql as dp, numpy as np, tempfile
        >>> store = dp.open(tempfile.mkdtemp() + "/study.duckdb")
        >>> store.add_recording(model="net", dataset="test", activations={"fc1": np.ones((3, 4))}, logits=np.eye(3), progress=False)
        >>> [row[:4] for row in store.layers("net").fetchall()]  # model, layer, neurons, position
        [('net', 'fc1', 4, 0), ('net', 'output', 3, 1)]

        Raises `UnknownNameError` for a model that isn't there.
        """
        self._require_names({"model": model})
        return self._rows("select * from layer where model = $model order by position", {"model": model})

    def recordings(self) -> Rows:
        """The recordings with their provenance."""
        return self._rows("select * from recording order by model, not is_reference, dataset")

    def check(self) -> list[str]:
        """Read everything once and compare it with its checksums and counts; return what is wrong, best nothing.

        >>> import deephys_sql as dp, tempfile
        >>> dp.open(tempfile.mkdtemp() + "/study.duckdb").check()
        []
        """
        return find_problems(self._cursor())

    # Recording.

    def record(self, model: Any, name: str, dataset: str, **options: Any) -> "ModelRecorder":
        """Record a torch model, batch by batch: a context manager.

        >>> with store.record(net, "resnet18", "CIFAR-10", layers=["avgpool"], output="fc",
        ...                   categories=names) as rec:               # doctest: +SKIP
        ...     for inputs, labels in loader:
        ...         rec(inputs, labels=labels)

        The options, and what is raised, are those of `deephys_sql.recording.models.ModelRecorder`.
        """
        from deephys_sql.recording.models import ModelRecorder

        return ModelRecorder(self.writing, model, name, dataset, **options)

    def add_recording(
        self,
        *,
        model: str,
        dataset: str,
        activations: Mapping[str, Any],
        logits: Any = None,
        labels: Any = None,
        categories: Sequence[str] | None = None,
        images: Any = None,
        image_metadata: Any = None,
        predictions: Any = None,
        reference: bool = False,
        replace: bool = False,
        add_layers: bool = False,
        output: str = "output",
        output_kind: str = "logits",
        nonlinearity: str | Mapping[str, str] | None = None,
        pooling: str | Mapping[str, str] | None = None,
        thumbnail_size: int = 64,
        thumbnail_format: str = "webp",
        keep_originals: bool = False,
        progress: bool = True,
    ) -> None:
        """Record activations that you have: arrays, or iterables of arrays, from NumPy or torch.

        >>> import deephys_sql as dp, numpy as np, tempfile
        >>> store = dp.open(tempfile.mkdtemp() + "/study.duckdb")
        >>> store.add_recording(
        ...     model="net", dataset="test", activations={"fc1": np.ones((3, 4))}, logits=np.eye(3),
        ...     labels=[0, 1, None], categories=["cat", "dog", "owl"], progress=False)
        >>> store.sql("select * from dataset_accuracy").fetchall()
        [('net', 'test', 2, 1.0)]

        activations: by layer, images x neurons, kept as float32 with their sign; an iterable gives batches of images,
            of any size, and is read once.
        logits: images x categories, stored as the layer `output`; `output_kind` says if they are `logits`, `log_softmax`
            or `probabilities`.
        labels: one category id an image; -1 or None where it is not known. Left out for a dataset that is stored.
        categories: the names, in the order of the ids; left out, those stored with the model or dataset, or numbers.
        images: images x height x width [x 3], uint8 or floats in 0..1, or a list of PIL images, encoded bytes or paths.
        image_metadata: a list of dicts, a DataFrame or an Arrow table, a row an image.
        predictions: category ids that overrule the highest logit; needed without logits.
        reference: make this dataset the model's default reference; the first dataset recorded is it anyhow.
        replace: record again what is recorded already. The dataset's images stay what they are, unless this was its only
            recording and labels and images, as far as they are stored, are given anew.
        add_layers: add the layers to those recorded of the model on the dataset, which stay as they are; without logits or predictions.
        nonlinearity, pooling: what came before the values, for all layers or by layer, kept with the layer.
        thumbnail_size: longest side in pixels; `thumbnail_format` webp or png; `keep_originals` keeps the whole picture.

        Nothing is written when anything is raised: `InvalidInputError` (shapes, types, ranges), `NotFiniteError`,
        `RecordingExistsError`, `CategoriesDifferError`, `DatasetDiffersError`, `ModelDiffersError`, `StoreFullError`.
        Source: Sarkar et al., "Deephys", section 2.
        """
        arguments = {name: value for name, value in locals().items() if name != "self"}
        record_arrays(writing=self.writing, **arguments)

    def add_directions(
        self,
        layer: str,
        name: str,
        matrix: Any,
        *,
        model: str | None = None,
        bias: Any = None,
        center: Any = None,
        nonlinearity: str | None = None,
        progress: bool = True,
    ) -> None:
        """Make a layer from another by a matrix: principal components, a sparse autoencoder's encoder, any directions.

        >>> import deephys_sql as dp, numpy as np, tempfile
        >>> store = dp.open(tempfile.mkdtemp() + "/study.duckdb")
        >>> store.add_recording(model="net", dataset="test", activations={"fc1": np.array([[3, 1], [1, 3]])}, logits=np.eye(2),
        ...                     progress=False)
        >>> store.add_directions("fc1", "difference", np.array([[1, -1]]), nonlinearity="relu", progress=False)
        >>> store.sql("select image, value from activation where layer = 'difference' order by image").fetchall()
        [(0, 2.0), (1, 0.0)]

        The new activations are `nonlinearity((activations - center) @ matrix.T + bias)`, for every recording that holds the
        layer, and for those that are made later. Sums are in float64, values are kept as float32.

        matrix: directions x neurons of the layer, kept as float32: `components_` of scikit-learn's PCA, the weight of a
            `torch.nn.Linear`.
        bias: one number a direction. center: one number a neuron, such as PCA's `mean_`.
        nonlinearity: "relu" or None. model: needed when several models have a layer of this name.

        All recordings get the layer, or none does. Raises `UnknownNameError` for a model or layer that isn't there,
        `InvalidInputError` for another shape or a name that is taken, `NotFiniteError` when a value is too large for float32,
        `StoreDamagedError` when activations of the layer are missing.
        """
        with self.transaction():
            add_directions(
                self._transaction.connection,
                layer,
                name,
                model,
                progress,
                matrix=matrix,
                bias=bias,
                center=center,
                nonlinearity=nonlinearity,
            )

    def set_reference(self, model: str, dataset: str) -> None:
        """Make a recorded dataset the default reference of a model, and compute its scores anew.

        >>> import deephys_sql as dp, numpy as np, tempfile
        >>> store = dp.open(tempfile.mkdtemp() + "/study.duckdb")
        >>> for dataset in ("day", "night"):
        ...     store.add_recording(model="net", dataset=dataset, activations={}, logits=np.eye(3), progress=False)
        >>> store.set_reference("net", "night")
        >>> store.models().fetchall()[0][:2]
        ('net', 'night')

        Raises `UnknownNameError` when the model was not recorded on the dataset.
        """
        with self._changing("set a reference") as connection, migrations.transaction(connection):
            self._require_names({"model": model})
            rows = self.sql("select dataset from recording where model = $model", model=model).fetchall()
            require_name(f"recording of model {model!r} on dataset", dataset, [row[0] for row in rows])
            (model_id,) = connection.execute(assets.sql("store/set_reference.sql"), {"dataset": dataset, "model": model}).fetchone()
            derive(connection, model_id)

    @contextlib.contextmanager
    def transaction(self, *, memory: str = WRITING_MEMORY) -> Iterator[duckdb.DuckDBPyConnection]:
        """Record several times, all or nothing: the recordings become visible together, and on one copy of the file.

        >>> import deephys_sql as dp, numpy as np, tempfile
        >>> store = dp.open(tempfile.mkdtemp() + "/study.duckdb")
        >>> with store.transaction():
        ...     for dataset in ("day", "night"):
        ...         store.add_recording(model="net", dataset=dataset, activations={}, logits=np.eye(3), progress=False)
        >>> store.sql("select count(*) from recording").fetchall()
        [(2,)]

        memory: what DuckDB may hold meanwhile, such as "500MB"; less than 200 MB may be too little for large layers.
        Nothing is written when anything is raised in the block, in a recording or outside.
        """
        with self._changing("begin a transaction") as connection:
            transaction = self._transaction = Transaction(connection, memory)
            try:
                yield connection
                if self._transaction is None:
                    raise self._closed_meanwhile()
                self._require_unfailed()
                transaction.commit()
            except BaseException as error:
                transaction.abort()
                if self._transaction is None and isinstance(error, duckdb.Error):
                    raise self._closed_meanwhile() from error
                raise
            finally:
                self._transaction = None

    @contextlib.contextmanager
    def writing(self, request: RecordingRequest) -> Iterator[RecordingWriter]:
        """Give a writer for one recording, in a transaction of its own unless `transaction` began one."""
        if self._transaction is None:
            with self.transaction(), self.writing(request) as writer:
                yield writer
            return
        self._require_writable("record")
        self._require_unfailed()
        transaction = self._transaction
        try:
            writer = self._writer = RecordingWriter(transaction.connection, request)
            yield writer
            if self._writer is None:
                raise self._closed_meanwhile()
            writer.finish()
        except BaseException:
            transaction.failed = True
            raise
        finally:
            self._writer = None

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a connection that sees the store as it is now, for the length of a `with` block."""
        with contextlib.closing(self._cursor()) as cursor:
            cursor.execute("begin transaction")
            yield cursor
            cursor.execute("rollback")

    # What is known from elsewhere.

    def add_experiments(
        self,
        source: str | os.PathLike,
        *,
        query: str | None = None,
        experiment: str | None = None,
        model: str = "model",
        checkpoint: str = "checkpoint",
        run: str | None = None,
        metrics: Sequence[str] = (),
        tags: Sequence[str] = (),
        prefix: str = "",
        name: str | None = None,
        progress: bool = True,
    ) -> "ImportedRuns":
        """Import runs with their parameters, metrics and tags; those that are stored already are brought up to date.

        >>> import deephys_sql as dp, pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "runs.csv").write_text("\\n".join(["run,lr,accuracy", "a,0.1,0.91", "b,0.01,0.94"]))
        >>> store = dp.open(folder / "study.duckdb")
        >>> store.add_experiments(folder / "runs.csv", metrics=["accuracy"], progress=False).added
        2
        >>> store.sql("select run, param_lr, metric_accuracy from experiment_wide order by run").fetchall()
        [('a', 0.1, 0.91), ('b', 0.01, 0.94)]

        source: the SQLAlchemy URL of an MLflow tracking database (`sqlite:///mlflow.db`, `postgresql://user@host/mlflow`), a
            CSV, JSON lines or Parquet file with a row a run or a row a step (W&B's exports), or a folder of Hydra's runs.
        query: SQL for any other database at a URL, a row a run. experiment: only this experiment of MLflow's.
        model, checkpoint: the parameter, tag or column that names the model in this store, and that which names its weights: the
            path of a file, or their SHA-256. A run belongs to the model that it names, else to that with its weights, else to
            that called as the checkpoint's file, the run or its id. Runs that belong to none are kept, and reported.
        run, metrics, tags: for tables, the column that tells runs apart, and names or patterns (`val/*`) of the columns that are
            metrics and tags; see `deephys_sql.experiments.tables`.
        prefix: is put before the ids of runs. name: what the source is called, if not as it is.

        Nothing is written when anything is raised: `SourceError` for what can't be read, `InvalidInputError` for values that can't
        be right or runs that are there twice, `MissingExtraError` without the database's driver.
        """
        from deephys_sql.experiments.importing import items_of, take  # SQLAlchemy takes time to load
        from deephys_sql.experiments.tables import Columns

        self._require_writable("add experiments")
        columns = Columns(run, tuple(metrics), tuple(tags))
        named, items = items_of(source, query=query, experiment=experiment, columns=columns)
        with self._changing("add experiments") as connection:
            return take(
                connection, items, columns, source=name or named, model=model, checkpoint=checkpoint, prefix=prefix, progress=progress
            )

    def annotate(
        self,
        *,
        model: str | None = None,
        layer: str | None = None,
        neuron: int | None = None,
        dataset: str | None = None,
        image: int | None = None,
        image_set: str | None = None,
        images: Iterable[int] | str | None = None,
        judgement: str | None = None,
        note: str | None = None,
        tags: Sequence[str] | None = None,
        author: str | None = None,
        withdraw: bool = False,
    ) -> None:
        """Say something of a neuron, an image or a set of images; a store opened read-only will do.

        >>> import deephys_sql as dp, numpy as np, tempfile
        >>> store = dp.open(tempfile.mkdtemp() + "/study.duckdb")
        >>> store.add_recording(model="net", dataset="test", activations={"fc1": np.ones((3, 4))}, predictions=[0, 0, 0],
        ...                     categories=["cat"], progress=False)
        >>> store.annotate(model="net", layer="fc1", neuron=2, judgement="spurious", note="fires for grass", author="ada")
        >>> store.annotate(dataset="test", image_set="the first two", images=[0, 1], tags=["blurry"], author="ada")
        >>> store.sql("select neuron, image_set, judgement, tags from annotation order by written_at").fetchall()
        [(2, None, 'spurious', []), (None, 'the first two', None, ['blurry'])]

        On: model, layer and neuron; or dataset and image; or dataset, image_set (a name) and images (numbers, or SQL that
        gives them), which may be left out when the set is known.
        judgement: core, spurious, unclear, or a word of one's own. note: text. tags: words. What isn't given stays as the same
        author said it before; "" and [] take it back, and `withdraw` all of it. Nothing is lost: `annotation_history` has every entry.
        author: who says it; else the name of the user.

        It is written into `study.duckdb.annotations.sqlite` beside the store, by any number of processes at a time, and
        is embedded in the store by the next recording or other writing, or by `embed_annotations`.
        Raises `UnknownNameError` for names that aren't in the store, `InvalidInputError` for what can't be said, `AnnotationError` when
        it can't be written.
        """
        if isinstance(images, str):
            images = [row[0] for row in self.sql(images).fetchall()]
        subject = annotations.subject_of(
            model=model, layer=layer, neuron=neuron, dataset=dataset, image=image, image_set=image_set, images=images
        )
        self._require_names({"model": model, "layer": layer, "neuron": neuron, "dataset": dataset})
        if subject.images:
            self._require_names({"dataset": dataset, "image": max(subject.images)})
        words = annotations.Words(judgement, note, tags)
        before = annotations.embedded(self._plain_cursor(), subject, author)
        self._log.write(subject, words, author=author, withdraw=withdraw, before=before)

    def annotations(self, *, history: bool = False) -> Rows:
        """What everybody says now, oldest first; or every entry there was."""
        return self._rows(f"select * from annotation{'_history' if history else ''} order by written_at, annotation")

    def embed_annotations(self) -> int:
        """Take the annotations written beside the store over into its file, so that it can be sent alone; return how many were new.

        >>> import deephys_sql as dp, tempfile
        >>> dp.open(tempfile.mkdtemp() + "/study.duckdb").embed_annotations()
        0

        Whatever else writes the store takes them over too.
        """
        self._require_writable("embed annotations")
        self._require_no_transaction()
        if not annotations.unembedded(self._plain_cursor(), self._log):
            return 0
        with self._changing("embed annotations") as connection:
            return annotations.embed(connection, self._log)

    # Opening and writing.

    def _create(self) -> None:
        with failures_explained(self.path), NewVersion(self._file) as version:
            if not self._file.exists():  # otherwise another process has made it meanwhile
                migrations.apply(version.begin(), migrations.available())
                version.publish()

    def _bring_up_to_date(self) -> None:
        if self.read_only:
            return migrations.require_current(self._opened.connection, self.path)
        todo = migrations.pending(self._opened.connection, self.path)
        if todo and todo != migrations.available():
            raise migrations.too_old(self.path, todo)
        if todo or not migrations.has_views(self._opened.connection):
            with self._changing("define its views") as connection:
                migrations.apply(connection, todo)

    @contextlib.contextmanager
    def _changing(self, action: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a connection to write with: what it has written is published after the block, unless anything is raised."""
        self._require_writable(action)
        self._require_no_transaction()
        with failures_explained(self.path):
            if self.in_place:
                yield self._opened.connection
                annotations.embed(self._opened.connection, self._log)
                return
            with NewVersion(self._file) as self._version:
                if not self._opened.is_newest(self._file):
                    self._read_newest()
                    if todo := migrations.pending(self._opened.connection, self.path):
                        raise migrations.too_old(self.path, todo)
                connection = self._version.begin(self._opened.file)
                yield connection
                annotations.embed(connection, self._log)
                self._version.publish()
            self._read_newest()

    def _read_newest(self) -> None:
        """Read the version that is published now. Rows and relations that somebody holds go on reading the one before."""
        newest = Published(self._file)
        self._annotations = annotations.Gathered(newest.connection, self._log)
        self._opened.let_go()
        self._opened = newest
        self._names.clear()

    def _rows(self, text: str, parameters: Mapping[str, Any] = MappingProxyType({})) -> Rows:
        return Rows(self._cursor(), parsed(text), {name: _copied(value) for name, value in parameters.items()})

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        cursor = self._plain_cursor()
        self._annotations.show(cursor)
        return cursor

    def _plain_cursor(self) -> duckdb.DuckDBPyConnection:
        """Give a cursor on the version that is read, without annotations that aren't in the file."""
        try:
            return use(self._opened.connection.cursor())
        except duckdb.ConnectionException as error:
            raise QueryError(f"{self.path} was closed. Use it inside of its `with` block, or open it again.") from error

    def _require_writable(self, action: str) -> None:
        if self.read_only:
            raise ReadOnlyError(f"can't {action}: {self.path} was opened read-only. Open it with deephys_sql.open(path).")
        self._plain_cursor()  # says so if the store was closed
        if self._writer is not None:
            raise RecordingInProgressError(
                f"can't {action}: model {self._writer.request.model!r} is being recorded on {self._writer.request.dataset!r}. "
                f"Finish that `with` block first, or use another store."
            )

    def _require_no_transaction(self) -> None:
        if self._transaction is not None:
            raise RecordingInProgressError(f"{self.path} is in a transaction: end that `with` block first.")

    def _closed_meanwhile(self) -> InvalidInputError:
        return InvalidInputError(f"{self.path} was closed while it recorded: close it after the `with` block.")

    def _require_unfailed(self) -> None:
        if self._transaction is not None and self._transaction.failed:
            raise RecordingInProgressError(
                f"a recording of this transaction of {self.path} failed, so nothing of it is kept: let the error end the `with` block."
            )

    def _require_names(self, parameters: Mapping[str, Any]) -> None:
        require_stored(self._known, parameters)

    def _known(self, file: str) -> list[tuple]:
        """Return the rows of a file of SQL, which stay the same as long as this version of the store does."""
        rows = self._names.get(file)
        if rows is None or self.in_place:
            rows = self._names[file] = self._cursor().execute(assets.sql(file)).fetchall()
        return rows


def _copied(value: Any) -> Any:
    """Return a parameter that stays as it is when lists, dicts and arrays of the caller change; NumPy's scalars as Python's."""
    if isinstance(value, list | tuple):
        return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.item() if isinstance(value, np.generic) else value
