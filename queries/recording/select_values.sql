-- What some neurons of a layer did on all images, in the order written: DuckDB preserves it without being asked.
select value
from stored_activation
where recording_id = $recording_id
    and layer_id = $layer_id
    and neuron >= $first
    and neuron < $end
