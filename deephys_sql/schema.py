# ruff: noqa: E501
# fmt: off
"""The store as SQLAlchemy's tables, for those who prefer expressions to strings.

>>> from sqlalchemy import select
>>> from deephys_sql import schema
>>> print(select(schema.neuron_score.c.neuron).where(schema.neuron_score.c.spurious > 0.9))
SELECT neuron_score.neuron 
FROM neuron_score 
WHERE neuron_score.spurious > :spurious_1

With `pip install 'deephys-sql[sqlalchemy]'`, `create_engine("duckdb:///study.duckdb", connect_args={"read_only": True})`
reads a store. `views` holds what people read; `tables` what lies below. The view `experiment_wide`, whose columns are those
of the runs that were imported, has here the ones that it always has.
"""

from sqlalchemy import (
    ARRAY,
    JSON,
    REAL,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

views = MetaData()
tables = MetaData()

# Written by tests/test_schema.py from the migrations and views; don't edit below.

accuracy = Table(
    "accuracy", views,
    Column("model", String, comment="Name of the model."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("category", Integer, comment="Category id."),
    Column("category_name", String, comment="Name of the category."),
    Column("images", BigInteger, comment="Number of images with this label."),
    Column("recall", Double, comment="Share of the images with this label that were predicted so, 0..1; NULL without such images."),
    Column("precision", Double, comment="Share of the images predicted so that have this label, 0..1; NULL without such images."),
    comment="Recall and precision of each category, over images whose label is known.",
)

activation = Table(
    "activation", views,
    Column("model", String, comment="Name of the model."),
    Column("layer", String, comment="Name of the layer."),
    Column("neuron", Integer, comment="Number of the neuron, from 0."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("image", Integer, comment="Number of the image."),
    Column("value", REAL, comment="Activation, float32 as recorded."),
    comment="What each neuron did on each image: the raw value, sign kept.",
)

annotation = Table(
    "annotation", views,
    Column("subject", String, comment="What it is on: neuron, image, or images for a set of them."),
    Column("model", String, comment="Name of the model, of a neuron."),
    Column("layer", String, comment="Name of the layer, of a neuron."),
    Column("neuron", Integer, comment="Number of the neuron, from 0."),
    Column("dataset", String, comment="Name of the dataset, of an image or set."),
    Column("image", Integer, comment="Number of the image, from 0; NULL for a set."),
    Column("image_set", String, comment="What the set of images is called."),
    Column("images", ARRAY(Integer), comment="Numbers of the images, ascending: one, or those of the set."),
    Column("judgement", String, comment="core, spurious, unclear, or a word of the author's own."),
    Column("note", String, comment="Free text."),
    Column("tags", ARRAY(String), comment="Words to find it by."),
    Column("author", String, comment="Who says it."),
    Column("written_at", DateTime, comment="When it was said last, in UTC."),
    Column("annotation", String, comment="Id of the entry."),
    comment="What each author says of a neuron, an image or a set of images now.",
)

annotation_history = Table(
    "annotation_history", views,
    Column("subject", String, comment="What it is on: neuron, image, or images for a set of them."),
    Column("model", String, comment="Name of the model, of a neuron."),
    Column("layer", String, comment="Name of the layer, of a neuron."),
    Column("neuron", Integer, comment="Number of the neuron, from 0."),
    Column("dataset", String, comment="Name of the dataset, of an image or set."),
    Column("image", Integer, comment="Number of the image, from 0; NULL for a set."),
    Column("image_set", String, comment="What the set of images is called."),
    Column("images", ARRAY(Integer), comment="Numbers of the images, ascending: one, or those of the set."),
    Column("judgement", String, comment="core, spurious, unclear, or a word of the author's own."),
    Column("note", String, comment="Free text."),
    Column("tags", ARRAY(String), comment="Words to find it by."),
    Column("author", String, comment="Who wrote it."),
    Column("written_at", DateTime, comment="When, in UTC."),
    Column("withdrawn", Boolean, comment="Whether the author took back what he had said."),
    Column("annotation", String, comment="Id of the entry."),
    comment="Every entry that was ever written, also those that a later one replaced, or that were withdrawn.",
)

category = Table(
    "category", views,
    Column("category_list", Integer, comment="Number of the list; models and datasets that are compared share one."),
    Column("category", Integer, comment="Id of the category, from 0."),
    Column("category_name", String, comment="Its name."),
    comment="The categories that labels and predictions speak of.",
)

category_response = Table(
    "category_response", views,
    Column("model", String, comment="Name of the model."),
    Column("layer", String, comment="Name of the layer."),
    Column("neuron", Integer, comment="Number of the neuron, from 0."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("category", Integer, comment="Category id of the images' label."),
    Column("category_name", String, comment="Name of the category."),
    Column("images", Integer, comment="Number of images behind the mean."),
    Column("response", Double, comment="Mean of max(activation, 0), divided by the largest response in the default reference; NULL when the neuron is silent there."),
    comment="Mean normalised response of a neuron over the images of a category; categories without images have no row.",
)

confusion = Table(
    "confusion", views,
    Column("model", String, comment="Name of the model."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("label", Integer, comment="Ground-truth category id."),
    Column("label_name", String, comment="Name of the ground-truth category."),
    Column("predicted", Integer, comment="Predicted category id."),
    Column("predicted_name", String, comment="Name of the predicted category."),
    Column("images", BigInteger, comment="Number of images."),
    comment="How many images of each label got each prediction; pairs that never occur have no row.",
)

dataset = Table(
    "dataset", views,
    Column("dataset", String, comment="Name of the dataset."),
    Column("images", Integer, comment="Number of images, numbered from 0."),
    Column("category_list", Integer, comment="Number of the list of categories that its labels are from."),
    comment="An ordered set of images.",
)

dataset_accuracy = Table(
    "dataset_accuracy", views,
    Column("model", String, comment="Name of the model."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("images", BigInteger, comment="Number of images with a known label."),
    Column("accuracy", Double, comment="Share of them predicted right, 0..1; NULL without such images."),
    comment="Accuracy of a model on a dataset, over images whose label is known.",
)

directions = Table(
    "directions", views,
    Column("model", String, comment="Name of the model."),
    Column("layer", String, comment="Name of the layer that was made."),
    Column("neuron", Integer, comment="Number of the neuron in it, from 0."),
    Column("made_from", String, comment="The layer whose activations it was made of."),
    Column("weights", ARRAY(REAL), comment="One weight a neuron of that layer, in their order: activation = nonlinearity(bias + sum of weight times activation there)."),
    Column("bias", Double, comment="What is added; a centre that was subtracted before is in it."),
    Column("nonlinearity", String, comment="relu, or NULL."),
    comment="What the neurons of layers that are directions of another layer were made with.",
)

experiment = Table(
    "experiment", views,
    Column("run", String, comment="Id of the run; unique in the store."),
    Column("model", String, comment="Name of the model of this store; NULL when none matches."),
    Column("name", String, comment="Name of the run."),
    Column("study", String, comment="What the run is one of: MLflow's experiment, a project, a sweep."),
    Column("status", String, comment="As the source says it, such as FINISHED."),
    Column("started", DateTime, comment="When, in UTC."),
    Column("ended", DateTime, comment="When, in UTC."),
    Column("matched_by", String, comment="Why this model: the source names the model, its weights are those recorded, the checkpoint's file is called so, or the run's name or id is the model's. The first of these that holds."),
    Column("checkpoint", String, comment="The path or checksum of the weights that the source names."),
    Column("source", String, comment="Where the run was imported from, without a password."),
    Column("imported_at", DateTime, comment="When it was imported last, in UTC."),
    comment="One row a run: one training or evaluation that somebody tracked, and the model of this store that it belongs to.",
)

experiment_metric = Table(
    "experiment_metric", views,
    Column("run", String, comment="Id of the run."),
    Column("model", String, comment="Name of the model that the run belongs to."),
    Column("name", String, comment="Name of the metric."),
    Column("step", BigInteger, comment="Step, such as the epoch; 0 where the source has none."),
    Column("recorded_at", DateTime, comment="When, in UTC; NULL where the source does not say."),
    Column("value", Double, comment="The number."),
    comment="What each run measured, step by step.",
)

experiment_param = Table(
    "experiment_param", views,
    Column("run", String, comment="Id of the run."),
    Column("model", String, comment="Name of the model that the run belongs to."),
    Column("name", String, comment="Name of the parameter; levels are joined by dots."),
    Column("value", String, comment="Its value as text."),
    Column("number", Double, comment="Its value as a number; NULL when it is none."),
    comment="What each run was started with, such as its learning rate.",
)

experiment_tag = Table(
    "experiment_tag", views,
    Column("run", String, comment="Id of the run."),
    Column("model", String, comment="Name of the model that the run belongs to."),
    Column("name", String, comment="Name of the tag."),
    Column("value", String, comment="Its value as text; NULL for a tag that is only there."),
    comment="What was noted on each run.",
)

experiment_wide = Table(
    "experiment_wide", views,
    Column("run", String, comment="Id of the run; unique in the store."),
    Column("model", String, comment="Name of the model of this store; NULL when none matches."),
    Column("name", String, comment="Name of the run."),
    Column("study", String, comment="What the run is one of: MLflow's experiment, a project, a sweep."),
    Column("status", String, comment="As the source says it, such as FINISHED."),
    Column("started", DateTime, comment="When, in UTC."),
    Column("ended", DateTime, comment="When, in UTC."),
    Column("matched_by", String, comment="Why this model: the source names the model, its weights are those recorded, the checkpoint's file is called so, or the run's name or id is the model's. The first of these that holds."),
    Column("checkpoint", String, comment="The path or checksum of the weights that the source names."),
    Column("source", String, comment="Where the run was imported from, without a password."),
    Column("imported_at", DateTime, comment="When it was imported last, in UTC."),
    comment="One row a run, a column a parameter (param_), a metric's last value (metric_) and a tag (tag_); defined anew by every import.",
)

feature_map = Table(
    "feature_map", views,
    Column("model", String, comment="Name of the model."),
    Column("layer", String, comment="Name of the layer."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("map_rows", Integer, comment="Rows of the feature map or of the grid of tokens; NULL when it was not the same for all images."),
    Column("map_columns", Integer, comment="Its columns; the number of tokens where they are no grid."),
    Column("leading_tokens", Integer, comment="Tokens before those of the grid, such as the class token; 0 for a feature map."),
    Column("input_height", Integer, comment="Pixels of the model's input; NULL when it is no picture or was not the same for all images."),
    Column("input_width", Integer, comment="Pixels of the model's input."),
    Column("field_top", Double, comment="First row that the place 0 sees, in pixels of the input, negative in the padding; NULL when it could not be measured."),
    Column("field_left", Double, comment="First column that the place 0 sees."),
    Column("field_height", Double, comment="The receptive field, in pixels from top to bottom; of tokens, the patch that a token began as."),
    Column("field_width", Double, comment="The same from left to right."),
    Column("stride_down", Double, comment="Pixels from one row of places to the next; 0 when every place sees the same."),
    Column("stride_across", Double, comment="Pixels from one column of places to the next."),
    comment="Of layers whose activations are maxima over places: the size of the feature map, and what each place sees of the input. The place in row i sees the rows from field_top + i * stride_down on, field_height of them, as far as they lie in the input; so with columns.",
)

image = Table(
    "image", views,
    Column("dataset", String, comment="Name of the dataset."),
    Column("image", Integer, comment="Number of the image in its dataset, from 0."),
    Column("label", Integer, comment="Ground-truth category id; NULL when unknown."),
    Column("label_name", String, comment="Name of the ground-truth category."),
    Column("width", Integer, comment="Width of the original picture in pixels."),
    Column("height", Integer, comment="Height of the original picture in pixels."),
    Column("uri", String, comment="Where the original lies, when that is known."),
    Column("metadata", JSON, comment="Free fields of the image, a JSON object: metadata ->> 'field'."),
    Column("thumbnail", LargeBinary, comment="The small picture, encoded."),
    Column("thumbnail_type", String, comment="Media type of the thumbnail, such as image/webp."),
    Column("original", LargeBinary, comment="The original picture, encoded, when it was kept."),
    Column("original_type", String, comment="Media type of the original."),
    comment="The images of every dataset, with their pictures.",
)

label = Table(
    "label", views,
    Column("category_list_id", Integer, comment="Id of the list of categories."),
    Column("label", Integer, comment="Category id; NULL for the unknown label."),
    Column("label_name", String, comment="Name of the category; NULL for the unknown label."),
    comment="Every label that an image can have: the categories of a list, and the unknown.",
)

layer = Table(
    "layer", views,
    Column("model", String, comment="Name of the model."),
    Column("layer", String, comment="Name of the layer."),
    Column("neurons", Integer, comment="Number of neurons, numbered from 0."),
    Column("position", Integer, comment="Place among the layers of the model, in the order first recorded."),
    Column("nonlinearity", String, comment="The non-linearity that the values came out of; NULL when it is not known."),
    Column("pooling", String, comment="How a feature map or tokens became one number a neuron; NULL when nothing was pooled."),
    Column("made_from", String, comment="The layer whose activations a matrix made it of (directions); NULL for a layer as the model gives it."),
    comment="A named output of a model: a matrix images x neurons.",
)

model = Table(
    "model", views,
    Column("model", String, comment="Name of the model."),
    Column("reference", String, comment="The dataset that its responses are measured against unless a query names another."),
    Column("category_list", Integer, comment="Number of the list of categories that it predicts."),
    comment="One set of weights (a checkpoint), and its default reference.",
)

neuron_score = Table(
    "neuron_score", views,
    Column("model", String, comment="Name of the model."),
    Column("layer", String, comment="Name of the layer."),
    Column("neuron", Integer, comment="Number of the neuron, from 0."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("reference", String, comment="The dataset that it is measured against."),
    Column("activation_ratio", Double, comment="Largest response in the dataset divided by the largest in the reference; NULL when silent in the reference."),
    Column("response_loss", Double, comment="Largest category response in the reference less the largest in the dataset; negative when the dataset drives the neuron more."),
    Column("novelty", Double, comment="The response loss where it is positive: what the neuron looks for is missing in the dataset; NULL elsewhere."),
    Column("spurious", Double, comment="1 - |Spearman's correlation over the shared categories of the two category responses|, 0..1: high when the neuron fires for other categories than in the reference."),
    Column("reason", String, comment="Why spurious is NULL: not_in_reference, silent_in_reference, few_categories (fewer than 3 shared) or constant."),
    Column("fewest_images", Integer, comment="The smallest number of images behind any shared category, on either side."),
    comment="Scores of every neuron on every dataset but the reference, against the model's default reference.",
)

neuron_summary = Table(
    "neuron_summary", views,
    Column("model", String, comment="Name of the model."),
    Column("layer", String, comment="Name of the layer."),
    Column("neuron", Integer, comment="Number of the neuron, from 0."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("images", Integer, comment="Number of images."),
    Column("min", REAL, comment="Smallest activation."),
    Column("max", REAL, comment="Largest activation."),
    Column("mean", Double, comment="Mean activation, sign kept."),
    Column("std", Double, comment="Population standard deviation."),
    Column("q01", Double, comment="Quantile .01 of the activations, interpolated linearly."),
    Column("q05", Double, comment="Quantile .05."),
    Column("q25", Double, comment="Quantile .25."),
    Column("q50", Double, comment="Median."),
    Column("q75", Double, comment="Quantile .75."),
    Column("q95", Double, comment="Quantile .95."),
    Column("q99", Double, comment="Quantile .99."),
    Column("share_positive", Double, comment="Share of the images with a positive activation, 0..1."),
    Column("silent_in_reference", Boolean, comment="Whether no image of the default reference activates the neuron; NULL when the reference lacks the layer."),
    comment="The distribution of a neuron's activations over a dataset.",
)

prediction = Table(
    "prediction", views,
    Column("model", String, comment="Name of the model."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("image", Integer, comment="Number of the image."),
    Column("label", Integer, comment="Ground-truth category id; NULL when unknown."),
    Column("label_name", String, comment="Name of the ground-truth category."),
    Column("predicted", Integer, comment="Predicted category id: the highest logit, ties to the lower id, unless predictions were given."),
    Column("predicted_name", String, comment="Name of the predicted category."),
    Column("confidence", Double, comment="Probability of the predicted category, 0..1; NULL without an output."),
    Column("correct", Boolean, comment="Whether the prediction is the label; NULL when the label is unknown."),
    Column("top_categories", ARRAY(Integer), comment="The five most probable category ids, most probable first."),
    Column("top_probabilities", ARRAY(Double), comment="Their probabilities, 0..1."),
    Column("metadata", JSON, comment="Free fields of the image, a JSON object."),
    comment="What each model predicted for each image.",
)

recording = Table(
    "recording", views,
    Column("model", String, comment="Name of the model."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("is_reference", Boolean, comment="Whether the dataset is the model's default reference."),
    Column("status", String, comment="Always complete: a recording becomes visible in one transaction."),
    Column("recorded_at", DateTime, comment="When it was recorded, in UTC."),
    Column("images", Integer, comment="Number of images."),
    Column("output_layer", String, comment="The layer that predictions were read from; NULL when they were given without an output."),
    Column("output_kind", String, comment="What the output holds: logits, log_softmax or probabilities."),
    Column("weights_checksum", String, comment="SHA-256 of the model's parameters and buffers; NULL when recorded from arrays."),
    Column("torch_version", String, comment="Version of torch that ran the model; NULL when recorded from arrays."),
    Column("deephys_sql_version", String, comment="Version of this package that wrote the recording."),
    Column("arguments", JSON, comment="The arguments of the call that recorded, a JSON object."),
    Column("checksum", String, comment="SHA-256 over what was written."),
    comment="What one model did on one dataset, with its provenance.",
)

response = Table(
    "response", views,
    Column("model", String, comment="Name of the model."),
    Column("layer", String, comment="Name of the layer."),
    Column("neuron", Integer, comment="Number of the neuron, from 0."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("image", Integer, comment="Number of the image."),
    Column("response", Double, comment="max(activation, 0) divided by the largest in the default reference: 0..1 there, may exceed 1 elsewhere; NULL when the neuron is silent in the reference."),
    Column("value", REAL, comment="The activation that it was made from."),
    comment="Normalised responses, against the model's default reference.",
)

stored_matched_run = Table(
    "stored_matched_run", views,
    Column("run", String, comment="Id of the run."),
    Column("model", String, comment="Name of the model."),
    Column("matched_by", String, comment="Why this model, as in the view experiment."),
    comment="One row a run that belongs to a model of this store, looked up in what there is now.",
)

stored_value = Table(
    "stored_value", views,
    Column("recording_id", Integer, comment="Id of the recording."),
    Column("layer_id", Integer, comment="Id of the layer."),
    Column("neuron", Integer, comment="Number of the neuron, from 0."),
    Column("image", Integer, comment="Number of the image in its dataset, from 0."),
    Column("value", REAL, comment="Activation, float32 as recorded."),
    Column("reference_max", REAL, comment="The largest activation of the neuron in the model's default reference; NULL when that was recorded without the layer, or not at all."),
    comment="One row an activation, by ids.",
)

strongest_category = Table(
    "strongest_category", views,
    Column("model", String, comment="Name of the model."),
    Column("layer", String, comment="Name of the layer."),
    Column("neuron", Integer, comment="Number of the neuron, from 0."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("category", Integer, comment="Category id."),
    Column("category_name", String, comment="Name of the category."),
    Column("images", Integer, comment="Number of images behind the mean."),
    Column("response", Double, comment="Mean normalised response, 0 for a neuron that no labelled image activates; NULL when the neuron is silent in the reference."),
    comment="The category that a neuron responds to most in each dataset: the row of category_response with the largest response, ties to the lower category.",
)

top_image = Table(
    "top_image", views,
    Column("model", String, comment="Name of the model."),
    Column("layer", String, comment="Name of the layer."),
    Column("neuron", Integer, comment="Number of the neuron, from 0."),
    Column("dataset", String, comment="Name of the dataset."),
    Column("rank", Integer, comment="1..100: activation descending, then image ascending."),
    Column("image", Integer, comment="Number of the image."),
    Column("value", REAL, comment="Activation."),
    Column("response", Double, comment="Activation divided by the largest in the default reference; NULL when the neuron is silent there."),
    Column("label", Integer, comment="Ground-truth category id; NULL when unknown."),
    Column("label_name", String, comment="Name of the ground-truth category."),
    Column("predicted", Integer, comment="Predicted category id."),
    Column("predicted_name", String, comment="Name of the predicted category."),
    Column("place_row", Integer, comment="Row of the feature map, or of the grid of tokens, where the maximum lies, from 0, the first of equal ones; NULL for a layer that is no maximum over places, and for a class token."),
    Column("place_column", Integer, comment="Its column, from 0; the number of the token where tokens are no grid."),
    Column("seen_left", Double, comment="What that place sees of the picture, its receptive field: left edge as a share of the width, 0..1; NULL when it is not known. Pictures of another size or shape than the model's input are taken to be stretched to it."),
    Column("seen_top", Double, comment="Upper edge, as a share of the height."),
    Column("seen_right", Double, comment="Right edge, as a share of the width."),
    Column("seen_bottom", Double, comment="Lower edge, as a share of the height."),
    comment="The 100 images that activate a neuron most, positive activations only.",
)

stored_activation = Table(
    "stored_activation", tables,
    Column("piece", Integer, nullable=False, comment="Which 64 neurons of which recorded layer: see stored_neuron."),
    Column("image", Integer, nullable=False, comment="Number of the image in its dataset, from 0."),
    Column("values", ARRAY(REAL), nullable=False, comment="Their activations, float32 as recorded; zeros where the layer has no more neurons."),
    comment="The activations: 64 neurons of an image a row, in blocks of 2,048 images (fewer in layers of more than 8,192 neurons), in a block piece after piece.",
)

stored_annotation = Table(
    "stored_annotation", tables,
    Column("annotation", String, nullable=False, comment="Id of the entry, a UUID."),
    Column("subject", String, nullable=False, comment="What it is on: neuron, image, or images for a set of them."),
    Column("model", String, comment="Name of the model, of a neuron."),
    Column("layer", String, comment="Name of the layer, of a neuron."),
    Column("neuron", Integer, comment="Number of the neuron, from 0."),
    Column("dataset", String, comment="Name of the dataset, of images."),
    Column("image_set", String, comment="What the set of images is called."),
    Column("images", ARRAY(Integer), comment="Numbers of the images, ascending: one, or those of the set."),
    Column("judgement", String, comment="core, spurious, unclear, or a word of the author's own."),
    Column("note", String, comment="Free text."),
    Column("tags", ARRAY(String), nullable=False, comment="Words to find it by."),
    Column("author", String, nullable=False, comment="Who wrote it."),
    Column("written_at", DateTime, nullable=False, comment="When, in UTC."),
    Column("withdrawn", Boolean, nullable=False, comment="Whether the author took back what he had said."),
    comment="What people said, every entry that was ever written; a later one of the same author on the same subject replaces an earlier one.",
)

stored_category = Table(
    "stored_category", tables,
    Column("category_list_id", Integer, nullable=False, primary_key=True, autoincrement=False, comment="Id of the list of categories."),
    Column("category", Integer, nullable=False, primary_key=True, autoincrement=False, comment="Id of the category, from 0."),
    Column("name", String, nullable=False, comment="Its name."),
    comment="The categories of a list: a label's id, from 0, and its name.",
)

stored_category_list = Table(
    "stored_category_list", tables,
    Column("category_list_id", Integer, nullable=False, primary_key=True, autoincrement=False, comment="Id of the list of categories."),
    Column("checksum", String, nullable=False, comment="SHA-256 of the names in order."),
    comment="One row a list of categories; models and datasets that are compared share one list.",
)

stored_category_response = Table(
    "stored_category_response", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("neuron", Integer, nullable=False, comment="Number of the neuron, from 0."),
    Column("category", Integer, nullable=False, comment="Id of the category, from 0."),
    Column("images", Integer, nullable=False, comment="Number of images of the dataset with this label."),
    Column("response_sum", Double, nullable=False, comment="Sum of max(activation, 0) over the images."),
    comment="Sums over the images of a category of the response max(activation, 0), not normalised; in chunks of 128 categories, in a chunk neuron after neuron.",
)

stored_dataset = Table(
    "stored_dataset", tables,
    Column("dataset_id", Integer, nullable=False, primary_key=True, autoincrement=False, comment="Id of the dataset."),
    Column("name", String, nullable=False, comment="Its name."),
    Column("category_list_id", Integer, nullable=False, comment="Id of the list of categories."),
    Column("images", Integer, nullable=False, comment="Number of images."),
    Column("checksum", String, nullable=False, comment="SHA-256 over labels, pixels and metadata of the images in order."),
    comment="An ordered set of images.",
)

stored_direction = Table(
    "stored_direction", tables,
    Column("layer_id", Integer, nullable=False, comment="Id of the layer that was made."),
    Column("neuron", Integer, nullable=False, comment="Number of the neuron in it, from 0."),
    Column("weights", ARRAY(REAL), nullable=False, comment="One weight a neuron of the source layer, in their order."),
    Column("bias", Double, nullable=False, comment="What is added; what was subtracted before (a centre) is in it."),
    comment="The directions: activation = bias + the sum over the source layer's neurons of weight times activation.",
)

stored_directions = Table(
    "stored_directions", tables,
    Column("layer_id", Integer, nullable=False, primary_key=True, autoincrement=False, comment="Id of the layer that was made."),
    Column("source_layer_id", Integer, nullable=False, comment="Id of the layer that it was made from."),
    Column("nonlinearity", String, comment="What followed the matrix: relu, or NULL."),
    Column("checksum", String, nullable=False, comment="SHA-256 of weights, then biases, neuron after neuron, as little-endian float32 and float64."),
    comment="Layers that were made from another layer by a matrix; they are made for each later recording of that layer too.",
)

stored_example = Table(
    "stored_example", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("neuron", Integer, nullable=False, comment="Number of the neuron, from 0."),
    Column("place", Integer, nullable=False, comment="1 the lowest activation, 2 zero, 3 to 7 the quantiles .05, .25, .5, .75 and .95, 8 the highest."),
    Column("rank", Integer, nullable=False, comment="1..5, the nearest first."),
    Column("image", Integer, nullable=False, comment="Number of the image in its dataset, from 0."),
    Column("value", REAL, nullable=False, comment="Activation, float32 as recorded."),
    comment="The five images whose activations are nearest to each of eight places of a neuron's range, ties to the lower image.",
)

stored_experiment = Table(
    "stored_experiment", tables,
    Column("run", String, nullable=False, comment="Id of the run in its source, such as MLflow's; unique in the store."),
    Column("name", String, comment="Name of the run."),
    Column("study", String, comment="What the run is one of: MLflow's experiment, a project, a sweep."),
    Column("status", String, comment="As the source says it, such as FINISHED."),
    Column("started", DateTime, comment="When, in UTC."),
    Column("ended", DateTime, comment="When, in UTC."),
    Column("model_name", String, comment="The model that the source names."),
    Column("checkpoint", String, comment="The path or checksum of the weights that the source names."),
    Column("weights_checksum", String, comment="SHA-256 of the weights, as stored_recording has it; NULL when they could not be read."),
    Column("source", String, nullable=False, comment="Where the run was imported from, without a password."),
    Column("imported_at", DateTime, nullable=False, comment="When it was imported last, in UTC."),
    comment="One row a run: one training or evaluation that somebody tracked.",
)

stored_experiment_metric = Table(
    "stored_experiment_metric", tables,
    Column("run", String, nullable=False, comment="Id of the run."),
    Column("name", String, nullable=False, comment="Name of the metric."),
    Column("step", BigInteger, nullable=False, comment="Step, such as the epoch; 0 where the source has none."),
    Column("recorded_at", DateTime, comment="When, in UTC; NULL where the source does not say."),
    Column("value", Double, nullable=False, comment="The number; NaN and infinities as they were logged."),
    comment="What a run measured, step by step.",
)

stored_experiment_param = Table(
    "stored_experiment_param", tables,
    Column("run", String, nullable=False, comment="Id of the run."),
    Column("name", String, nullable=False, comment="Name of the parameter; levels are joined by dots."),
    Column("value", String, comment="Its value as text."),
    comment="What a run was started with.",
)

stored_experiment_tag = Table(
    "stored_experiment_tag", tables,
    Column("run", String, nullable=False, comment="Id of the run."),
    Column("name", String, nullable=False, comment="Name of the tag."),
    Column("value", String, comment="Its value as text; NULL for a tag that is only there."),
    comment="What was noted on a run.",
)

stored_feature_map = Table(
    "stored_feature_map", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("map_rows", Integer, comment="Rows of the feature map or of the grid of tokens; NULL when it was not the same for all images."),
    Column("map_columns", Integer, comment="Its columns; the number of tokens where they are no grid."),
    Column("leading_tokens", Integer, nullable=False, comment="Tokens before those of the grid, such as the class token; 0 for a feature map."),
    Column("input_height", Integer, comment="Pixels of the model's input; NULL when it is no picture or was not the same for all images. What follows is NULL then, or when it could not be measured."),
    Column("input_width", Integer, comment="Pixels of the model's input."),
    Column("field_top", Double, comment="First row of the input that the place 0 sees, in pixels; negative where that lies in the padding."),
    Column("field_left", Double, comment="First column of the input that the place 0 sees, in pixels."),
    Column("field_height", Double, comment="Pixels of the input that a place sees, from top to bottom: the receptive field; of tokens, the patch that a token began as."),
    Column("field_width", Double, comment="The same from left to right."),
    Column("stride_down", Double, comment="Pixels of the input from one row of places to the next; 0 when every place sees the same."),
    Column("stride_across", Double, comment="Pixels of the input from one column of places to the next."),
    comment="The places of a layer whose activations are maxima over places: the size of its feature map, and what part of the model's input each place sees.",
)

stored_histogram = Table(
    "stored_histogram", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("neuron", Integer, nullable=False, comment="Number of the neuron, from 0."),
    Column("exponent", Integer, nullable=False, comment="The smallest with which there are at most 256 intervals, not below the spacing of float32 at the largest magnitude."),
    Column("first_interval", Integer, nullable=False, comment="Number n of the interval that the smallest activation lies in."),
    Column("images", ARRAY(Integer), nullable=False, comment="Number of images in that interval, and in each up to that of the largest activation."),
    comment="How many images lie in each interval of a neuron's activations; interval n is [n * 2**exponent, (n + 1) * 2**exponent).",
)

stored_image = Table(
    "stored_image", tables,
    Column("dataset_id", Integer, nullable=False, comment="Id of the dataset."),
    Column("image", Integer, nullable=False, comment="Number of the image in its dataset, from 0."),
    Column("label", Integer, comment="Ground-truth category id; NULL when unknown."),
    Column("width", Integer, comment="Pixels of the original picture; NULL without a picture."),
    Column("height", Integer, comment="Pixels of the original picture; NULL without a picture."),
    Column("thumbnail", LargeBinary, comment="The small picture, encoded; NULL without a picture."),
    Column("thumbnail_type", String, comment="Media type of the thumbnail, such as image/webp."),
    Column("original", LargeBinary, comment="The original picture, encoded, when it was kept."),
    Column("original_type", String, comment="Media type of the original."),
    Column("uri", String, comment="Where the original lies, when that is known."),
    Column("metadata", JSON, comment="Free fields of the image, a JSON object."),
    Column("pixels_checksum", LargeBinary, comment="BLAKE2b-128 of mode, size and pixels: tells whether two recordings show the same picture."),
    comment="One row an image, numbered from 0 in its dataset.",
)

stored_image_norm = Table(
    "stored_image_norm", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("image", Integer, nullable=False, comment="Number of the image in its dataset, from 0."),
    Column("norm", Double, nullable=False, comment="Root of the sum of squares of its activations, in double precision."),
    comment="The Euclidean norm of an image's activations of a layer, which cosines are divided by.",
)

stored_layer = Table(
    "stored_layer", tables,
    Column("layer_id", Integer, nullable=False, primary_key=True, autoincrement=False, comment="Id of the layer."),
    Column("model_id", Integer, nullable=False, comment="Id of the model."),
    Column("name", String, nullable=False, comment="Its name."),
    Column("neurons", Integer, nullable=False, comment="Number of neurons, numbered from 0."),
    Column("position", Integer, nullable=False, comment="Place among the layers of the model, in the order first recorded."),
    Column("nonlinearity", String, comment="The non-linearity that the values came out of; NULL when it is not known."),
    Column("pooling", String, comment="How a feature map or tokens became one number a neuron; NULL when nothing was pooled."),
    comment="A named output of a model: a matrix images x neurons.",
)

stored_migration = Table(
    "stored_migration", tables,
    Column("version", Integer, nullable=False, primary_key=True, autoincrement=False, comment="The number that the file's name begins with."),
    Column("name", String, nullable=False, comment="The file's name without .sql."),
    Column("checksum", String, nullable=False, comment="SHA-256 of the file's text when it was applied."),
    Column("applied_at", DateTime, comment="When, in UTC."),
    comment="The migrations applied to this store.",
)

stored_model = Table(
    "stored_model", tables,
    Column("model_id", Integer, nullable=False, primary_key=True, autoincrement=False, comment="Id of the model."),
    Column("name", String, nullable=False, comment="Its name."),
    Column("category_list_id", Integer, nullable=False, comment="Id of the list of categories."),
    Column("reference_dataset_id", Integer, comment="The default reference: the dataset that responses are measured against."),
    comment="One set of weights (a checkpoint).",
)

stored_named_layer = Table(
    "stored_named_layer", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("dataset_id", Integer, nullable=False, comment="Id of the dataset."),
    Column("category_list_id", Integer, nullable=False, comment="Id of the list of categories."),
    Column("reference_recording_id", Integer, comment="Id of the recording of the model's default reference; NULL when that is not recorded."),
    Column("neurons", Integer, nullable=False, comment="Number of neurons of the layer."),
    Column("model_name", String, nullable=False, comment="Name of the model."),
    Column("layer_name", String, nullable=False, comment="Name of the layer."),
    Column("dataset_name", String, nullable=False, comment="Name of the dataset."),
    comment="One row a layer of a recording: its names and ids.",
)

stored_named_recording = Table(
    "stored_named_recording", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("model_id", Integer, nullable=False, comment="Id of the model."),
    Column("dataset_id", Integer, nullable=False, comment="Id of the dataset."),
    Column("category_list_id", Integer, nullable=False, comment="Id of the list of categories."),
    Column("reference_recording_id", Integer, comment="Id of the recording of the model's default reference; NULL when that is not recorded."),
    Column("model_name", String, nullable=False, comment="Name of the model."),
    Column("dataset_name", String, nullable=False, comment="Name of the dataset."),
    comment="One row a recording: its names and ids.",
)

stored_named_run = Table(
    "stored_named_run", tables,
    Column("run", String, nullable=False, comment="Id of the run."),
    Column("model_name", String, nullable=False, comment="Name of the model."),
    Column("matched_by", String, nullable=False, comment="Why this model, as in the view experiment."),
    comment="One row a run that belongs to a model of this store.",
)

stored_neuron = Table(
    "stored_neuron", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("neuron", Integer, nullable=False, comment="Number of the neuron, from 0."),
    Column("piece", Integer, nullable=False, comment="The rows of stored_activation that hold it."),
    Column("element", Integer, nullable=False, comment="Its place in their values, 1 to 64."),
    Column("reference_max", REAL, comment="Its largest activation in the model's default reference; NULL when that was recorded without the layer, or not at all."),
    comment="Where the activations of each neuron of a recording lie, and what its responses are divided by.",
)

stored_neuron_score = Table(
    "stored_neuron_score", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("reference_recording_id", Integer, nullable=False, comment="Id of the recording of the reference."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("neuron", Integer, nullable=False, comment="Number of the neuron, from 0."),
    Column("activation_ratio", Double, comment="As in the view neuron_score."),
    Column("response_loss", Double, comment="As in the view neuron_score."),
    Column("novelty", Double, comment="As in the view neuron_score."),
    Column("spurious", Double, comment="As in the view neuron_score."),
    Column("reason", String, comment="As in the view neuron_score."),
    Column("fewest_images", Integer, comment="As in the view neuron_score."),
    comment="The scores of each recording against its model's default reference, kept so that they are read and not computed.",
)

stored_neuron_summary = Table(
    "stored_neuron_summary", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("neuron", Integer, nullable=False, comment="Number of the neuron, from 0."),
    Column("images", Integer, nullable=False, comment="Number of images."),
    Column("min", REAL, nullable=False, comment="Smallest activation."),
    Column("max", REAL, nullable=False, comment="Largest activation."),
    Column("mean", Double, nullable=False, comment="Mean activation, sign kept."),
    Column("std", Double, nullable=False, comment="Population standard deviation (divided by the number of images)."),
    Column("q01", Double, nullable=False, comment="Quantile .01, exact, interpolated linearly; so are the other six."),
    Column("q05", Double, nullable=False, comment="Quantile .05."),
    Column("q25", Double, nullable=False, comment="Quantile .25."),
    Column("q50", Double, nullable=False, comment="Median."),
    Column("q75", Double, nullable=False, comment="Quantile .75."),
    Column("q95", Double, nullable=False, comment="Quantile .95."),
    Column("q99", Double, nullable=False, comment="Quantile .99."),
    Column("share_positive", Double, nullable=False, comment="Share of the images with a positive activation, 0..1."),
    comment="The distribution of a neuron's activations over a dataset.",
)

stored_piece = Table(
    "stored_piece", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("first_piece", Integer, nullable=False, comment="The piece that holds neurons 0 to 63; those that follow hold 64 each."),
    comment="Which rows of stored_activation hold a recorded layer: those of piece first_piece + neuron // 64.",
)

stored_prediction = Table(
    "stored_prediction", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("image", Integer, nullable=False, comment="Number of the image in its dataset, from 0."),
    Column("predicted", Integer, nullable=False, comment="Predicted category id."),
    Column("confidence", Double, comment="Probability of the predicted category, 0..1; NULL without an output."),
    Column("top_categories", ARRAY(Integer), comment="The five most probable categories, most probable first."),
    Column("top_probabilities", ARRAY(Double), comment="Their probabilities, 0..1."),
    Column("label", Integer, comment="Ground-truth category id, as in stored_image; NULL when unknown."),
    Column("label_name", String, comment="Its name."),
    Column("predicted_name", String, comment="Name of the predicted category."),
    comment="What the model predicted for each image.",
)

stored_recorded_layer = Table(
    "stored_recorded_layer", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("checksum", String, nullable=False, comment="SHA-256 of the layer's activations, image after image, as little-endian float32."),
    comment="Which layers a recording holds.",
)

stored_recording = Table(
    "stored_recording", tables,
    Column("recording_id", Integer, nullable=False, primary_key=True, autoincrement=False, comment="Id of the recording."),
    Column("model_id", Integer, nullable=False, comment="Id of the model."),
    Column("dataset_id", Integer, nullable=False, comment="Id of the dataset."),
    Column("status", String, nullable=False, comment="Always complete: a recording becomes visible in one transaction."),
    Column("recorded_at", DateTime, nullable=False, comment="When it was recorded, in UTC."),
    Column("images", Integer, nullable=False, comment="Number of images recorded."),
    Column("output_layer_id", Integer, comment="The layer that predictions were read from; NULL when predictions were given without an output."),
    Column("output_kind", String, comment="What the output holds: logits, log_softmax or probabilities."),
    Column("weights_checksum", String, comment="SHA-256 of the model's parameters and buffers; NULL when recorded from arrays."),
    Column("torch_version", String, comment="Version of torch that ran the model; NULL when recorded from arrays."),
    Column("deephys_sql_version", String, nullable=False, comment="Version of this package that wrote the recording."),
    Column("arguments", JSON, nullable=False, comment="The arguments of the call that recorded, a JSON object."),
    Column("checksum", String, nullable=False, comment="SHA-256 over predictions and the checksums of the layers."),
    comment="What one model did on one dataset, with its provenance.",
)

stored_strongest_category = Table(
    "stored_strongest_category", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("neuron", Integer, nullable=False, comment="Number of the neuron, from 0."),
    Column("category", Integer, nullable=False, comment="Id of the category, from 0."),
    Column("images", Integer, nullable=False, comment="Number of images of the dataset with this label."),
    Column("response_sum", Double, nullable=False, comment="Sum of max(activation, 0) over the images."),
    comment="The row of stored_category_response with the largest mean of each neuron, ties to the lower category; none without labels.",
)

stored_top_image = Table(
    "stored_top_image", tables,
    Column("recording_id", Integer, nullable=False, comment="Id of the recording."),
    Column("layer_id", Integer, nullable=False, comment="Id of the layer."),
    Column("neuron", Integer, nullable=False, comment="Number of the neuron, from 0."),
    Column("rank", Integer, nullable=False, comment="1..100."),
    Column("image", Integer, nullable=False, comment="Number of the image in its dataset, from 0."),
    Column("value", REAL, nullable=False, comment="Activation, float32 as recorded."),
    Column("place_row", Integer, comment="Row of the feature map, or of the grid of tokens, that the activation came from, from 0; NULL when it came from no one place."),
    Column("place_column", Integer, comment="Column, from 0; the token's number where the tokens are no grid."),
    Column("label", Integer, comment="Ground-truth category id, as in stored_prediction; NULL when unknown."),
    Column("label_name", String, comment="Its name."),
    Column("predicted", Integer, comment="Predicted category id."),
    Column("predicted_name", String, comment="Its name."),
    comment="The 100 images that activate a neuron most: positive activations, value descending, then image ascending.",
)

stored_views = Table(
    "stored_views", tables,
    Column("checksum", String, nullable=False, comment="SHA-256 of the files of queries/views/ that defined them."),
    Column("drop_statement", String, nullable=False, comment="What drops it."),
    comment="The views and macros that this package defined, so that those of users are left alone when they are replaced.",
)
