-- What was predicted for some images of a recording; nothing where predictions were given that overrule the output.
select p.predicted
from stored_prediction as p
join stored_recording as r using (recording_id)
where p.recording_id = $recording_id
    and p.image >= $first
    and p.image < $end
    and not cast(r.arguments ->> 'predictions_given' as boolean)
order by p.image
