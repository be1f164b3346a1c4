-- title: Top images of several neurons
-- The images that activate each of some neurons most, in several datasets; the first 100 are kept with a recording.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neurons: varchar, example [7, 12] - Numbers of the neurons, a JSON list.
-- parameter datasets: varchar, default null, example ["Permuted", "Arbitrary"] - Names of datasets, a JSON list; without it all.
-- parameter reference: varchar, default null, example Drifted - Name of the dataset that responses are measured against; without it the model's default reference.
-- parameter k: integer, from 1, default 6, example 10 - How many images of a neuron and dataset at most, up to 100.
-- column dataset: name of the dataset
-- column neuron: number of the neuron
-- column rank: 1 and on: activation descending, then image ascending; positive activations only
-- column image: number of the image
-- column value: activation
-- column response: activation divided by the largest in the reference; NULL when the neuron is silent there
-- column label: ground-truth category id
-- column label_name: name of the ground-truth category
-- column predicted: predicted category id
-- column predicted_name: name of the predicted category
-- column place_row: row of the feature map where the maximum lies, from 0; NULL for layers that are no maximum over places
-- column place_column: its column
-- column map_rows: rows of the feature map
-- column map_columns: columns of the feature map
-- column seen_left: what that place sees of the picture, its receptive field: left edge as a share of the width; NULL when not known
-- column seen_top: upper edge, as a share of the height
-- column seen_right: right edge, as a share of the width
-- column seen_bottom: lower edge, as a share of the height
with recorded as materialized (
    select
        r.*,
        $datasets is null or list_contains(from_json($datasets, '["varchar"]'), r.dataset) as is_asked
    from recorded_layers($model, $layer, $reference) as r
),
top as materialized (
    select
        t.recording_id,
        t.layer_id,
        t.neuron,
        t.rank,
        t.image,
        t.value,
        t.label,
        t.label_name,
        t.predicted,
        t.predicted_name,
        t.place_row,
        t.place_column
    from stored_top_image as t
    where t.rank <= $k
        and t.neuron in (select unnest(from_json($neurons, '["integer"]')))
        and t.layer_id in (select layer_id from recorded)
        and t.recording_id in (select recording_id from recorded where is_asked)
)
select
    q.dataset,
    t.neuron,
    t.rank,
    t.image,
    t.value,
    t.value / reference_scale(x.max) as response,
    t.label,
    t.label_name,
    t.predicted,
    t.predicted_name,
    t.place_row,
    t.place_column,
    f.map_rows,
    f.map_columns,
    seen_from(t.place_column, f.field_left, f.stride_across, f.input_width) as seen_left,
    seen_from(t.place_row, f.field_top, f.stride_down, f.input_height) as seen_top,
    seen_to(t.place_column, f.field_left, f.field_width, f.stride_across, f.input_width) as seen_right,
    seen_to(t.place_row, f.field_top, f.field_height, f.stride_down, f.input_height) as seen_bottom
from top as t
join recorded as q using (recording_id, layer_id)
left join stored_neuron_summary as x
    on x.recording_id = (select r.recording_id from recorded as r where r.is_reference)
    and x.layer_id = t.layer_id
    and x.neuron = t.neuron
left join stored_feature_map as f
    on f.recording_id = t.recording_id
    and f.layer_id = t.layer_id
order by q.dataset, t.neuron, t.rank
