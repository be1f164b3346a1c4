-- What people said, as a person reads it: of what, by whom, and how many images rather than which.
select
    strftime(h.written_at, '%Y-%m-%d %H:%M') as said_at,
    h.author,
    h.subject,
    case h.subject
        when 'neuron' then h.neuron || ' of ' || h.layer || ' of ' || h.model
        when 'image' then h.image || ' of ' || h.dataset
        else h.image_set || ' of ' || h.dataset
    end as of_what,
    case when h.subject = 'images' then len(h.images) end as images,
    case when h.withdrawn then 'withdrawn' else coalesce(h.judgement, '') end as judgement,
    array_to_string(h.tags, ', ') as tags,
    coalesce(h.note, '') as note
from annotation_history as h
where $history
    or h.annotation in (select a.annotation from annotation as a)
order by h.written_at, h.annotation
