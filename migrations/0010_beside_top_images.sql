-- title: Labels beside top images, and norms
-- What the most frequent questions join and compute: label and prediction of a neuron's top images, by name, and the norm that
-- a cosine is divided by. Norms of recordings that are there are written when all migrations are applied (deephys_sql/migrations.py).

alter table stored_top_image add column label integer;
alter table stored_top_image add column label_name varchar;
alter table stored_top_image add column predicted integer;
alter table stored_top_image add column predicted_name varchar;
comment on column stored_top_image.label is 'Ground-truth category id, as in stored_prediction; NULL when unknown.';
comment on column stored_top_image.label_name is 'Its name.';
comment on column stored_top_image.predicted is 'Predicted category id.';
comment on column stored_top_image.predicted_name is 'Its name.';

update stored_top_image as t
set
    label = p.label,
    label_name = p.label_name,
    predicted = p.predicted,
    predicted_name = p.predicted_name
from stored_prediction as p
where p.recording_id = t.recording_id
    and p.image = t.image;

create table stored_image_norm (
    recording_id integer not null,
    layer_id integer not null,
    image integer not null,
    norm double not null
);
comment on table stored_image_norm is 'The Euclidean norm of an image''s activations of a layer, which cosines are divided by.';
comment on column stored_image_norm.recording_id is 'Id of the recording.';
comment on column stored_image_norm.layer_id is 'Id of the layer.';
comment on column stored_image_norm.image is 'Number of the image in its dataset, from 0.';
comment on column stored_image_norm.norm is 'Root of the sum of squares of its activations, in double precision.';
