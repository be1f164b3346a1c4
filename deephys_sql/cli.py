"""The command line `deephys-sql`: each command is one call of the library."""

import atexit
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import duckdb
import numpy as np

import deephys_sql as dp
from deephys_sql import assets, results
from deephys_sql import query as queries
from deephys_sql.errors import DeephysError, InvalidInputError, QueryError
from deephys_sql.recording.outputs import OUTPUT_KINDS

STORE = click.Path(path_type=Path)


class Command(click.Command):
    """Turns errors of the user's making into one line and exit status 2."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except BrokenPipeError:
            raise
        except (DeephysError, duckdb.Error, OSError) as error:
            text = " ".join(str(error).split())
            is_of_library = isinstance(error, DeephysError) and not isinstance(error, QueryError)  # that one quotes SQL
            raise click.UsageError(in_options(text, self.params) if is_of_library else text) from error


class Group(click.Group):
    """Makes its commands of that class, and its groups of this."""

    command_class = Command
    group_class = type


def in_options(text: str, parameters: Sequence[click.Parameter]) -> str:
    """Return what the library says of its arguments as it is said of a command's options.

    >>> in_options("Pass replace=True, or give model='net' or tags=.", import_arrays.params)
    "Pass --replace, or give --model 'net' or tags=."

    What is quoted is the user's, and stays:

    >>> in_options("'replace=True' was recorded already: pass replace=True.", import_arrays.params)
    "'replace=True' was recorded already: pass --replace."
    """
    options = {one.name: one.opts[0] for one in parameters if isinstance(one, click.Option)}
    quoted = r"""(?<!\w)(?P<quote>['"])(?:(?!(?P=quote))[^\\]|\\.)*(?P=quote)"""
    option = rf"(?<![\w./])(?P<name>{'|'.join(options) or '(?!)'})=(?:True\b|(?=[\s.,;:)]|$)|(?P<value>))"

    def said(found: re.Match) -> str:
        return found[0] if found["quote"] else options[found["name"]] + ("" if found["value"] is None else " ")

    return re.sub(f"{quoted}|{option}", said, text)


def report(done: str, store: Path) -> None:
    """Say at the end of a command what it did, and what the store holds now."""
    with dp.open(store, read_only=True) as opened:
        count = len(opened.sql("select model, dataset from recording").fetchall())
    click.echo(f"{done}. {store} holds {count} recording{'s' * (count != 1)}.")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="deephys-sql")
def main() -> None:
    """Ask a store what a network's neurons did, and why it fails on data it was not trained on.

    \b
    Example:
      deephys-sql demo                               (makes demo.duckdb)
      deephys-sql info demo.duckdb
      deephys-sql serve demo.duckdb
      deephys-sql query --help                       (any command's options, with an example)
    """


def output_options(command):
    """Add --format and --output."""
    command = click.option("--output", type=click.Path(path_type=Path), help="Write to this file instead of standard output.")(command)
    return click.option(
        "--format", type=click.Choice(results.FORMATS), help="How to write the result; else as the file's name ends, or as a table."
    )(command)


@main.command()
@click.option("--store", type=STORE, default="demo.duckdb", show_default=True, help="The file to make.")
@click.option("--mnist", type=click.Path(path_type=Path), help="Folder with MNIST's four IDX files, plain or gzip: trains on all of them.")
@click.option("--seed", default=0, show_default=True, help="Seed of the training; the same seed gives the same store.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
def demo(store: Path, mnist: Path | None, seed: int, overwrite: bool) -> None:
    """Train a network on Colored MNIST, and report why it fails. It is recorded into a store, on four datasets.

    \b
    Example:
      deephys-sql demo
      deephys-sql demo --mnist ~/mnist --store mnist.duckdb
    """
    from deephys_sql.demo.study import run

    click.echo(run(store, mnist_folder=mnist, seed=seed, overwrite=overwrite))


@main.command()
@click.argument("store", type=STORE)
@output_options
def info(store: Path, format: str | None, output: Path | None) -> None:
    """Show the recordings of a store: accuracy, drop, layers.

    \b
    Example:
      deephys-sql info demo.duckdb
    """
    with dp.open(store, read_only=True) as opened:
        results.write(opened.query("recordings"), format, output)


@main.command("queries")
@click.argument("name", required=False)
def list_queries(name: str | None) -> None:
    """List the named queries, or describe one. With NAME: its parameters, columns and SQL.

    \b
    Example:
      deephys-sql queries
      deephys-sql queries top_images
    """
    click.echo(queries.describe(name))


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("store", type=STORE)
@click.argument("name")
@click.argument("parameters", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAMETER VALUE]...")
@output_options
def query(store: Path, name: str, parameters: tuple[str, ...], format: str | None, output: Path | None) -> None:
    """Run a named query. Its parameters are options; `deephys-sql queries NAME` lists them.

    \b
    Example:
      deephys-sql query demo.duckdb top_images --model colored_mnist --layer linear1 --neuron 7 --dataset Permuted --k 5
      deephys-sql queries top_images                 (its parameters)
      deephys-sql query demo.duckdb confusion_matrix --model colored_mnist --dataset Permuted --format csv
    """
    with dp.open(store, read_only=True) as opened:
        results.write(opened.query(name, **_pairs(parameters)), format, output)


@main.command()
@click.argument("store", type=STORE)
@click.argument("statement")
@output_options
def sql(store: Path, statement: str, format: str | None, output: Path | None) -> None:
    """Run one SQL statement on a store, read-only.

    \b
    Example:
      deephys-sql sql demo.duckdb "select dataset, accuracy from dataset_accuracy"
    """
    with dp.open(store, read_only=True) as opened:
        results.write(opened.sql(statement), format, output)


@main.command()
@click.argument("store", type=STORE)
@click.argument("model")
@output_options
def layers(store: Path, model: str, format: str | None, output: Path | None) -> None:
    """Show the layers of a model.

    \b
    Example:
      deephys-sql layers demo.duckdb colored_mnist
    """
    with dp.open(store, read_only=True) as opened:
        results.write(opened.layers(model), format, output)


@main.group("import")
def import_() -> None:
    """Record what files of another program or format hold.

    \b
    Example:
      deephys-sql import --help                      (the formats)
    """


@import_.command("deephys")
@click.argument("store", type=STORE)
@click.argument("model", type=STORE, metavar="MODEL.model")
@click.argument("tests", type=STORE, nargs=-1, required=True, metavar="TEST.test...")
@click.option("--reference", metavar="NAME", help="The dataset that responses are measured against; else the first.")
@click.option("--output-kind", type=click.Choice(OUTPUT_KINDS), help="What the classification layer holds; else as its values look.")
@click.option("--replace", is_flag=True, help="Record again what is recorded already.")
def import_deephys(
    store: Path, model: Path, tests: tuple[Path, ...], reference: str | None, output_kind: str | None, replace: bool
) -> None:
    """Record files of the original Deephys. They are a .model, and a .test for each dataset.

    \b
    Example:
      deephys-sql import deephys study.duckdb net.model day.test night.test --reference day
    """
    for note in dp.import_deephys(store, model, tests, reference=reference, output_kind=output_kind, replace=replace):
        click.echo(note)
    report(f"Recorded {model} on {', '.join(map(str, tests))}", store)


@import_.command("arrays")
@click.argument("store", type=STORE)
@click.option("--model", required=True, help="Name of the model.")
@click.option("--dataset", required=True, help="Name of the dataset.")
@click.option("--activations", multiple=True, required=True, metavar="LAYER=FILE", help="A layer's .npy or .npz file; or one .npz of all.")
@click.option("--logits", metavar="FILE", help="Images x categories, .npy or .npz.")
@click.option("--labels", metavar="FILE", help="CSV with a row an image: label, and perhaps image, prediction, file and other fields.")
@click.option("--categories", metavar="FILE", help="Text file with the name of a category a line, in the order of the logits.")
@click.option("--images", metavar="FOLDER", help="Folder of the pictures.")
@click.option("--output-kind", type=click.Choice(OUTPUT_KINDS), default="logits", show_default=True, help="What the logits' file holds.")
@click.option("--reference", is_flag=True, help="Make this dataset the one that responses are measured against.")
@click.option("--replace", is_flag=True, help="Record again what is recorded already.")
@click.option("--add-layers", is_flag=True, help="Add the layers to those recorded already; without --logits.")
def import_arrays(store: Path, activations: tuple[str, ...], categories: str | None, **options) -> None:
    """Record activations from NumPy's files. Labels come from a CSV file.

    \b
    Example:
      deephys-sql import arrays study.duckdb --model net --dataset day --activations hidden=hidden.npy \\
          --logits logits.npy --labels labels.csv --images photos
    """
    files = dict(pair.partition("=")[::2] for pair in activations)
    whole = activations[0] if len(activations) == 1 and "=" not in activations[0] else None
    if whole is None and not all(files.values()):
        raise click.UsageError("--activations is LAYER=FILE, once a layer, or one .npz file whose arrays are the layers.")
    names = None if categories is None else [line for line in Path(categories).read_text(encoding="utf-8").splitlines() if line]
    dp.import_arrays(store, activations=whole or files, categories=names, **options)
    report(f"Recorded {options['model']} on {options['dataset']}", store)


@import_.command("parquet")
@click.argument("store", type=STORE)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Take the place of recordings of the same model and dataset.")
def import_parquet(store: Path, folder: Path, replace: bool) -> None:
    """Read an export, or shards of several processes. FOLDER is what `export parquet`, or ShardWriter in Python, wrote.

    \b
    Example:
      deephys-sql import parquet study.duckdb study_parquet
    """
    dp.import_parquet(store, folder, replace=replace)
    report(f"Imported {folder}", store)


@main.group()
def export() -> None:
    """Write what a store holds as files of another format.

    \b
    Example:
      deephys-sql export --help                      (the formats)
    """


@export.command("deephys")
@click.argument("store", type=STORE)
@click.argument("model")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def export_deephys(store: Path, model: str, folder: Path, overwrite: bool) -> None:
    """Write a model as files of the original Deephys. What they can't hold is printed.

    \b
    Example:
      deephys-sql export deephys demo.duckdb colored_mnist for_deephys
    """
    for loss in dp.export_deephys(store, model, folder, overwrite=overwrite):
        click.echo(loss)
    click.echo(f"Wrote {model} into {folder}.")


@export.command("parquet")
@click.argument("store", type=STORE)
@click.argument("folder", type=click.Path(path_type=Path))
def export_parquet(store: Path, folder: Path) -> None:
    """Write a store as Parquet files. FOLDER, which is made, gets a folder a table, in it a folder a model, layer and dataset.

    \b
    Example:
      deephys-sql export parquet demo.duckdb demo_parquet
    """
    dp.export_parquet(store, folder)
    click.echo(f"Wrote {store} into {folder}.")


@main.command()
@click.argument("store", type=STORE)
@click.argument("source")
@click.option("--query", help="SQL for a database that isn't MLflow's: a row a run.")
@click.option("--experiment", help="Only the runs of this experiment of MLflow's.")
@click.option("--model", default="model", show_default=True, help="Parameter, tag or column that names the model in the store.")
@click.option("--checkpoint", default="checkpoint", show_default=True, help="That which names its weights: a path or their SHA-256.")
@click.option("--run", help="Column that tells runs apart.")
@click.option("--metric", "metrics", multiple=True, metavar="PATTERN", help="Columns that are metrics, such as 'val/*'; may be repeated.")
@click.option("--tag", "tags", multiple=True, metavar="PATTERN", help="Columns that are tags; may be repeated.")
@click.option("--prefix", default="", help="Put this before the ids of runs, to keep those of two sources apart.")
@click.option("--name", help="What the source is called, if not as it is.")
def experiments(store: Path, source: str, **options) -> None:
    """Import runs with parameters, metrics and tags. SOURCE is MLflow's database, another with --query, W&B's exports, CSV, Hydra's folder.

    \b
    Example:
      deephys-sql experiments study.duckdb sqlite:///mlflow.db
      deephys-sql experiments study.duckdb postgresql://me@host/mlflow --experiment resnets
      deephys-sql experiments study.duckdb runs.csv --metric accuracy --metric 'val/*'
      deephys-sql experiments study.duckdb sqlite:///lab.db --query "select id as run, lr, acc as [metrics.acc] from runs"
      deephys-sql experiments study.duckdb multirun/
    """
    with dp.open(store) as opened:
        imported = opened.add_experiments(source, **options)
    for remark in imported.remarks:
        click.echo(in_options(remark, experiments.params), err=True)
    click.echo(imported)


@main.command()
@click.argument("store", type=STORE)
@click.option("--model", help="Of a neuron: its model.")
@click.option("--layer", help="Of a neuron: its layer.")
@click.option("--neuron", type=int, help="Of a neuron: its number, from 0.")
@click.option("--dataset", help="Of an image or a set: the dataset.")
@click.option("--image", type=int, help="Of an image: its number, from 0.")
@click.option("--set", "image_set", metavar="NAME", help="Of a set of images: what it is called.")
@click.option("--images", metavar="NUMBERS|SQL", help="Of a set: 3,5,9 or a SELECT that gives the numbers.")
@click.option("--judgement", help="core, spurious, unclear, or a word of your own.")
@click.option("--note", help="Free text.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; may be repeated.")
@click.option("--author", help="Who says it; else the name of the user.")
@click.option("--withdraw", is_flag=True, help="Take back what the author said of it.")
def annotate(store: Path, images: str | None, tags: tuple[str, ...], **options) -> None:
    """Say something of a neuron, an image or a set of images. What isn't given stays as it was said before.

    \b
    Example:
      deephys-sql annotate demo.duckdb --model colored_mnist --layer linear1 --neuron 7 --judgement spurious --note "the colour of 5"
      deephys-sql annotate demo.duckdb --dataset Permuted --image 12 --tag blurry
      deephys-sql annotate demo.duckdb --dataset Permuted --set "taken for 2" --judgement unclear \\
          --images "select image from prediction where dataset = 'Permuted' and label_name = '0' and predicted_name = '2'"
    """
    if images is not None and set(images) <= set("0123456789, "):
        images = [int(number) for number in images.replace(",", " ").split()]
    with dp.open(store, read_only=True) as opened:
        opened.annotate(images=images, tags=list(tags) or None, **options)
    of_what = (
        f"neuron {options['neuron']} of {options['layer']} of {options['model']}"
        if options["neuron"] is not None
        else f"image {options['image']} of {options['dataset']}"
        if options["image"] is not None
        else f"the set {options['image_set']!r} of {options['dataset']}"
    )
    click.echo(f"{'Withdrew' if options['withdraw'] else 'Kept'} what was said of {of_what}.")


@main.command()
@click.argument("store", type=STORE)
@click.option("--history", is_flag=True, help="Every entry, also those that later ones replaced.")
@click.option("--embed", is_flag=True, help="Take those written beside the store over into its file first, to send it alone.")
@output_options
def annotations(store: Path, history: bool, embed: bool, format: str | None, output: Path | None) -> None:
    """Show what people said of neurons and images. The table is to be read; the other formats have every column.

    \b
    Example:
      deephys-sql annotations demo.duckdb
      deephys-sql annotations demo.duckdb --embed
    """
    with dp.open(store, read_only=not embed) as opened:
        if embed:
            opened.embed_annotations()
        is_table = results.chosen(format, output) == "table"
        text = assets.sql("annotations/select_for_people.sql")
        results.write(opened.sql(text, history=history) if is_table else opened.annotations(history=history), format, output)


class OptionsOfDatasette(Command):
    """Tells Datasette's options in its help."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from deephys_sql.site.serve import datasette_command

        super().format_options(context, formatter)
        records = [parameter.get_help_record(context) for parameter in datasette_command().params]
        with formatter.section("Options of Datasette"):
            formatter.write_dl([record for record in records if record])


@main.command(cls=OptionsOfDatasette, context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="STORE... [OPTION]...")
@click.option("--in-process", is_flag=True, help="Run visitors' SQL in the server's process: only for a localhost that you trust.")
def serve(arguments: tuple[str, ...], in_process: bool) -> None:
    """Show stores in the browser. There are pages of neurons, images, categories and confusions, and an SQL page.

    \b
    Example:
      deephys-sql serve demo.duckdb
      deephys-sql serve demo.duckdb study.duckdb --port 0
    """
    from deephys_sql.site.serve import serve as serve_stores

    ended = False

    def leave() -> None:
        # After all else at the exit: DuckDB's binding would print a page on objects that are alive when the interpreter ends.
        if ended:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    atexit.register(leave)
    serve_stores((), arguments, in_process=in_process)
    ended = True


@main.command()
@click.argument("store", type=STORE)
@click.argument("layer")
@click.argument("name")
@click.argument("matrix", type=click.Path(path_type=Path))
@click.option("--model", help="The model, when several have a layer of this name.")
@click.option("--bias", type=click.Path(path_type=Path), help="A .npy file: one number a direction, added.")
@click.option("--center", type=click.Path(path_type=Path), help="A .npy file: one number a neuron of LAYER, subtracted before.")
@click.option("--relu", is_flag=True, help="Keep the positive part.")
def directions(
    store: Path, layer: str, name: str, matrix: Path, model: str | None, bias: Path | None, center: Path | None, relu: bool
) -> None:
    """Make a layer of directions from another layer. MATRIX, a .npy file, is directions x neurons of LAYER: components, an encoder.

    \b
    Example:
      deephys-sql directions study.duckdb fc1 sparse encoder.npy --bias encoder_bias.npy --relu
    """
    given = {"matrix": matrix, "bias": bias, "center": center}
    arrays = {what: None if file is None else _array(file) for what, file in given.items()}
    with dp.open(store) as opened:
        opened.add_directions(layer, name, **arrays, model=model, nonlinearity="relu" if relu else None)
    report(f"Made layer {name} of {len(arrays['matrix'])} neurons from {layer}", store)


def _array(file: Path) -> np.ndarray:
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InvalidInputError(f"{file} is no .npy file of numbers ({error}). Write it with numpy.save.") from error


@main.command()
@click.argument("store", type=STORE)
def migrate(store: Path) -> None:
    """Upgrade a store of an older version. The old file is kept beside it.

    \b
    Example:
      deephys-sql migrate study.duckdb
    """
    backup = dp.migrate(store)
    click.echo(f"{store} is up to date." if backup is None else f"{store} is upgraded; the old file is {backup}.")


@main.command()
@click.argument("store", type=STORE)
def check(store: Path) -> None:
    """Compare all in a store with its checksums and counts. The exit status is 1 if something is wrong.

    \b
    Example:
      deephys-sql check demo.duckdb
    """
    with dp.open(store, read_only=True) as opened:
        problems = opened.check()
    click.echo("\n".join(problems) or f"{store} is whole.")
    sys.exit(1 if problems else 0)


def _pairs(arguments: tuple[str, ...]) -> dict[str, str]:
    """Read `--name value` and `--name=value`."""
    pairs = {}
    rest = list(arguments)
    while rest:
        option = rest.pop(0)
        if not option.startswith("--"):
            raise click.UsageError(f"got {option!r} where an option of the query was expected, such as --model NAME.")
        name, equals, value = option[2:].partition("=")
        if not equals:
            if not rest:
                raise click.UsageError(f"option {option} needs a value.")
            value = rest.pop(0)
        pairs[name.replace("-", "_")] = value
    return pairs


if __name__ == "__main__":
    main()
