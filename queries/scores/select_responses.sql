-- Category responses of some neurons of a recorded layer, neuron after neuron.
select
    category,
    images,
    response_sum
from stored_category_response
where recording_id = $recording_id
    and layer_id = $layer_id
    and neuron between $first and $last
order by neuron, category
