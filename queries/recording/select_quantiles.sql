-- Exact quantiles, interpolated linearly, of some neurons of a layer.
select
    neuron,
    quantile_cont(cast(value as double), [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]) as quantiles
from stored_activation
where recording_id = $recording_id
    and layer_id = $layer_id
    and neuron >= $first
    and neuron < $end
group by neuron
order by neuron
