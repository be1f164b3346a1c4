-- The tables of a store.
--
-- Tables that hold data are named stored_<noun> and speak in ids; what people read are the views of
-- queries/views/, which speak in names. Rows of one recording appear in one transaction, so a recording is
-- complete or it is not there.

create table stored_migration (
    version integer primary key,
    name varchar not null,
    checksum varchar not null,
    applied_at timestamp default (now() at time zone 'UTC')
);
comment on table stored_migration is 'The migrations applied to this store.';
comment on column stored_migration.version is 'The number that the file''s name begins with.';
comment on column stored_migration.name is 'The file''s name without .sql.';
comment on column stored_migration.checksum is 'SHA-256 of the file''s text when it was applied.';
comment on column stored_migration.applied_at is 'When, in UTC.';

create table stored_views (
    checksum varchar not null,
    drop_statement varchar not null
);
comment on table stored_views is 'The views and macros that this package defined, so that those of users are left alone when they are replaced.';
comment on column stored_views.drop_statement is 'What drops it.';
comment on column stored_views.checksum is 'SHA-256 of the files of queries/views/ that defined them.';

create sequence model_number;
create sequence layer_number;
create sequence dataset_number;
create sequence category_list_number;
create sequence recording_number;

create table stored_category_list (
    category_list_id integer primary key,
    checksum varchar not null unique
);
comment on table stored_category_list is 'One row a list of categories; models and datasets that are compared share one list.';
comment on column stored_category_list.category_list_id is 'Id of the list of categories.';
comment on column stored_category_list.checksum is 'SHA-256 of the names in order.';

create table stored_category (
    category_list_id integer not null,
    category integer not null,
    name varchar not null,
    primary key (category_list_id, category)
);
comment on table stored_category is 'The categories of a list: a label''s id, from 0, and its name.';
comment on column stored_category.category_list_id is 'Id of the list of categories.';
comment on column stored_category.category is 'Id of the category, from 0.';
comment on column stored_category.name is 'Its name.';

create table stored_dataset (
    dataset_id integer primary key,
    name varchar not null unique,
    category_list_id integer not null,
    images integer not null,
    checksum varchar not null
);
comment on table stored_dataset is 'An ordered set of images.';
comment on column stored_dataset.dataset_id is 'Id of the dataset.';
comment on column stored_dataset.name is 'Its name.';
comment on column stored_dataset.category_list_id is 'Id of the list of categories.';
comment on column stored_dataset.images is 'Number of images.';
comment on column stored_dataset.checksum is 'SHA-256 over labels, pixels and metadata of the images in order.';

create table stored_image (
    dataset_id integer not null,
    image integer not null,
    label integer,
    width integer,
    height integer,
    thumbnail blob,
    thumbnail_type varchar,
    original blob,
    original_type varchar,
    uri varchar,
    metadata json,
    pixels_checksum blob
);
comment on table stored_image is 'One row an image, numbered from 0 in its dataset.';
comment on column stored_image.dataset_id is 'Id of the dataset.';
comment on column stored_image.image is 'Number of the image in its dataset, from 0.';
comment on column stored_image.label is 'Ground-truth category id; NULL when unknown.';
comment on column stored_image.width is 'Pixels of the original picture; NULL without a picture.';
comment on column stored_image.height is 'Pixels of the original picture; NULL without a picture.';
comment on column stored_image.thumbnail is 'The small picture, encoded; NULL without a picture.';
comment on column stored_image.thumbnail_type is 'Media type of the thumbnail, such as image/webp.';
comment on column stored_image.original is 'The original picture, encoded, when it was kept.';
comment on column stored_image.original_type is 'Media type of the original.';
comment on column stored_image.uri is 'Where the original lies, when that is known.';
comment on column stored_image.metadata is 'Free fields of the image, a JSON object.';
comment on column stored_image.pixels_checksum is 'BLAKE2b-128 of mode, size and pixels: tells whether two recordings show the same picture.';

create table stored_model (
    model_id integer primary key,
    name varchar not null unique,
    category_list_id integer not null,
    reference_dataset_id integer
);
comment on table stored_model is 'One set of weights (a checkpoint).';
comment on column stored_model.model_id is 'Id of the model.';
comment on column stored_model.name is 'Its name.';
comment on column stored_model.category_list_id is 'Id of the list of categories.';
comment on column stored_model.reference_dataset_id is 'The default reference: the dataset that responses are measured against.';

create table stored_layer (
    layer_id integer primary key,
    model_id integer not null,
    name varchar not null,
    neurons integer not null,
    position integer not null,
    nonlinearity varchar,
    pooling varchar,
    unique (model_id, name)
);
comment on table stored_layer is 'A named output of a model: a matrix images x neurons.';
comment on column stored_layer.layer_id is 'Id of the layer.';
comment on column stored_layer.model_id is 'Id of the model.';
comment on column stored_layer.name is 'Its name.';
comment on column stored_layer.neurons is 'Number of neurons, numbered from 0.';
comment on column stored_layer.position is 'Place among the layers of the model, in the order first recorded.';
comment on column stored_layer.nonlinearity is 'The non-linearity that the values came out of; NULL when it is not known.';
comment on column stored_layer.pooling is 'How a feature map or tokens became one number a neuron; NULL when nothing was pooled.';

create table stored_recording (
    recording_id integer primary key,
    model_id integer not null,
    dataset_id integer not null,
    status varchar not null,
    recorded_at timestamp not null,
    images integer not null,
    output_layer_id integer,
    output_kind varchar,
    weights_checksum varchar,
    torch_version varchar,
    deephys_sql_version varchar not null,
    arguments json not null,
    checksum varchar not null
);
comment on table stored_recording is 'What one model did on one dataset, with its provenance.';
comment on column stored_recording.recording_id is 'Id of the recording.';
comment on column stored_recording.model_id is 'Id of the model.';
comment on column stored_recording.dataset_id is 'Id of the dataset.';
comment on column stored_recording.recorded_at is 'When it was recorded, in UTC.';
comment on column stored_recording.deephys_sql_version is 'Version of this package that wrote the recording.';
comment on column stored_recording.status is 'Always complete: a recording becomes visible in one transaction.';
comment on column stored_recording.images is 'Number of images recorded.';
comment on column stored_recording.output_layer_id is 'The layer that predictions were read from; NULL when predictions were given without an output.';
comment on column stored_recording.output_kind is 'What the output holds: logits, log_softmax or probabilities.';
comment on column stored_recording.weights_checksum is 'SHA-256 of the model''s parameters and buffers; NULL when recorded from arrays.';
comment on column stored_recording.torch_version is 'Version of torch that ran the model; NULL when recorded from arrays.';
comment on column stored_recording.arguments is 'The arguments of the call that recorded, a JSON object.';
comment on column stored_recording.checksum is 'SHA-256 over predictions and the checksums of the layers.';

create table stored_recorded_layer (
    recording_id integer not null,
    layer_id integer not null,
    checksum varchar not null
);
comment on table stored_recorded_layer is 'Which layers a recording holds.';
comment on column stored_recorded_layer.recording_id is 'Id of the recording.';
comment on column stored_recorded_layer.layer_id is 'Id of the layer.';
comment on column stored_recorded_layer.checksum is 'SHA-256 of the layer''s activations, image after image, as little-endian float32.';

create table stored_prediction (
    recording_id integer not null,
    image integer not null,
    predicted integer not null,
    confidence double,
    top_categories integer[],
    top_probabilities double[]
);
comment on table stored_prediction is 'What the model predicted for each image.';
comment on column stored_prediction.recording_id is 'Id of the recording.';
comment on column stored_prediction.image is 'Number of the image in its dataset, from 0.';
comment on column stored_prediction.predicted is 'Predicted category id.';
comment on column stored_prediction.confidence is 'Probability of the predicted category, 0..1; NULL without an output.';
comment on column stored_prediction.top_categories is 'The five most probable categories, most probable first.';
comment on column stored_prediction.top_probabilities is 'Their probabilities, 0..1.';

create table stored_neuron_summary (
    recording_id integer not null,
    layer_id integer not null,
    neuron integer not null,
    images integer not null,
    min float not null,
    max float not null,
    mean double not null,
    std double not null,
    q01 double not null,
    q05 double not null,
    q25 double not null,
    q50 double not null,
    q75 double not null,
    q95 double not null,
    q99 double not null,
    share_positive double not null
);
comment on table stored_neuron_summary is 'The distribution of a neuron''s activations over a dataset.';
comment on column stored_neuron_summary.recording_id is 'Id of the recording.';
comment on column stored_neuron_summary.layer_id is 'Id of the layer.';
comment on column stored_neuron_summary.neuron is 'Number of the neuron, from 0.';
comment on column stored_neuron_summary.images is 'Number of images.';
comment on column stored_neuron_summary.min is 'Smallest activation.';
comment on column stored_neuron_summary.max is 'Largest activation.';
comment on column stored_neuron_summary.q05 is 'Quantile .05.';
comment on column stored_neuron_summary.q25 is 'Quantile .25.';
comment on column stored_neuron_summary.q50 is 'Median.';
comment on column stored_neuron_summary.q75 is 'Quantile .75.';
comment on column stored_neuron_summary.q95 is 'Quantile .95.';
comment on column stored_neuron_summary.q99 is 'Quantile .99.';
comment on column stored_neuron_summary.mean is 'Mean activation, sign kept.';
comment on column stored_neuron_summary.std is 'Population standard deviation (divided by the number of images).';
comment on column stored_neuron_summary.q01 is 'Quantile .01, exact, interpolated linearly; so are the other six.';
comment on column stored_neuron_summary.share_positive is 'Share of the images with a positive activation, 0..1.';

create table stored_top_image (
    recording_id integer not null,
    layer_id integer not null,
    neuron integer not null,
    rank integer not null,
    image integer not null,
    value float not null
);
comment on table stored_top_image is 'The 100 images that activate a neuron most: positive activations, value descending, then image ascending.';
comment on column stored_top_image.recording_id is 'Id of the recording.';
comment on column stored_top_image.layer_id is 'Id of the layer.';
comment on column stored_top_image.neuron is 'Number of the neuron, from 0.';
comment on column stored_top_image.rank is '1..100.';
comment on column stored_top_image.image is 'Number of the image in its dataset, from 0.';
comment on column stored_top_image.value is 'Activation, float32 as recorded.';

create table stored_category_response (
    recording_id integer not null,
    layer_id integer not null,
    neuron integer not null,
    category integer not null,
    images integer not null,
    response_sum double not null
);
comment on table stored_category_response is 'Sums over the images of a category of the response max(activation, 0), not normalised.';
comment on column stored_category_response.recording_id is 'Id of the recording.';
comment on column stored_category_response.layer_id is 'Id of the layer.';
comment on column stored_category_response.neuron is 'Number of the neuron, from 0.';
comment on column stored_category_response.category is 'Id of the category, from 0.';
comment on column stored_category_response.response_sum is 'Sum of max(activation, 0) over the images.';
comment on column stored_category_response.images is 'Number of images of the dataset with this label.';

create table stored_neuron_score (
    recording_id integer not null,
    reference_recording_id integer not null,
    layer_id integer not null,
    neuron integer not null,
    activation_ratio double,
    response_loss double,
    novelty double,
    spurious double,
    reason varchar,
    fewest_images integer
);
comment on table stored_neuron_score is 'The scores of each recording against its model''s default reference, kept so that they are read and not computed.';
comment on column stored_neuron_score.recording_id is 'Id of the recording.';
comment on column stored_neuron_score.reference_recording_id is 'Id of the recording of the reference.';
comment on column stored_neuron_score.layer_id is 'Id of the layer.';
comment on column stored_neuron_score.neuron is 'Number of the neuron, from 0.';
comment on column stored_neuron_score.activation_ratio is 'As in the view neuron_score.';
comment on column stored_neuron_score.response_loss is 'As in the view neuron_score.';
comment on column stored_neuron_score.novelty is 'As in the view neuron_score.';
comment on column stored_neuron_score.spurious is 'As in the view neuron_score.';
comment on column stored_neuron_score.reason is 'As in the view neuron_score.';
comment on column stored_neuron_score.fewest_images is 'As in the view neuron_score.';

-- Activations are kept twice. stored_activation answers questions about neurons, and any question that somebody asks of
-- the view `activation`, as a plain table: blocks of 2,048 images, in a block neuron after neuron, so that both neurons
-- and images skip most row groups. stored_image_activation answers questions about sets of images.

create table stored_activation (
    recording_id integer not null,
    layer_id integer not null,
    neuron integer not null,
    image integer not null,
    value float not null
);
comment on table stored_activation is 'One row an activation, in blocks of 2,048 images (fewer in layers of more than 8,192 neurons), in a block neuron after neuron.';
comment on column stored_activation.recording_id is 'Id of the recording.';
comment on column stored_activation.layer_id is 'Id of the layer.';
comment on column stored_activation.neuron is 'Number of the neuron, from 0.';
comment on column stored_activation.image is 'Number of the image in its dataset, from 0.';
comment on column stored_activation.value is 'Activation, float32 as recorded.';

create table stored_image_activation (
    recording_id integer not null,
    layer_id integer not null,
    image integer not null,
    piece integer not null,
    values float[16] not null
);
comment on table stored_image_activation is 'The same activations image after image, 16 neurons a row.';
comment on column stored_image_activation.recording_id is 'Id of the recording.';
comment on column stored_image_activation.layer_id is 'Id of the layer.';
comment on column stored_image_activation.image is 'Number of the image in its dataset, from 0.';
comment on column stored_image_activation.piece is 'Which 16 neurons: 0 for neurons 0 to 15, 1 for 16 to 31, and so on.';
comment on column stored_image_activation.values is 'Their activations; zeros where the layer has no more neurons.';
