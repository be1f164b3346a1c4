-- The largest response of a layer's neurons in a recording and in the reference; NULL in a reference without the layer.
select
    s.neuron,
    cast(greatest(s.max, 0) as double) as maximum,
    case when q.max is not null then cast(greatest(q.max, 0) as double) end as reference_maximum
from stored_neuron_summary as s
left join stored_neuron_summary as q
    on q.recording_id = $reference_recording_id
    and q.layer_id = s.layer_id
    and q.neuron = s.neuron
where s.recording_id = $recording_id
    and s.layer_id = $layer_id
order by s.neuron
