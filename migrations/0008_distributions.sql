-- What the site shows of how a neuron's activations lie over a dataset, so that it does not read them all. Recordings that are
-- there get theirs when all migrations are applied (deephys_sql/migrations.py).

create table stored_histogram (
    recording_id integer not null,
    layer_id integer not null,
    neuron integer not null,
    exponent integer not null,
    first_interval integer not null,
    images integer[] not null
);
comment on table stored_histogram is 'How many images lie in each interval of a neuron''s activations; interval n is [n * 2**exponent, (n + 1) * 2**exponent).';
comment on column stored_histogram.recording_id is 'Id of the recording.';
comment on column stored_histogram.layer_id is 'Id of the layer.';
comment on column stored_histogram.neuron is 'Number of the neuron, from 0.';
comment on column stored_histogram.exponent is 'The smallest with which there are at most 256 intervals, not below the spacing of float32 at the largest magnitude.';
comment on column stored_histogram.first_interval is 'Number n of the interval that the smallest activation lies in.';
comment on column stored_histogram.images is 'Number of images in that interval, and in each up to that of the largest activation.';

create table stored_example (
    recording_id integer not null,
    layer_id integer not null,
    neuron integer not null,
    place integer not null,
    rank integer not null,
    image integer not null,
    value float not null
);
comment on table stored_example is 'The five images whose activations are nearest to each of eight places of a neuron''s range, ties to the lower image.';
comment on column stored_example.recording_id is 'Id of the recording.';
comment on column stored_example.layer_id is 'Id of the layer.';
comment on column stored_example.neuron is 'Number of the neuron, from 0.';
comment on column stored_example.place is '1 the lowest activation, 2 zero, 3 to 7 the quantiles .05, .25, .5, .75 and .95, 8 the highest.';
comment on column stored_example.rank is '1..5, the nearest first.';
comment on column stored_example.image is 'Number of the image in its dataset, from 0.';
comment on column stored_example.value is 'Activation, float32 as recorded.';
