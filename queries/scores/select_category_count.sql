-- How many categories the layers of a recording may have responses to.
select count(*)
from stored_named_recording as n
join stored_category as c using (category_list_id)
where n.recording_id = $recording_id
