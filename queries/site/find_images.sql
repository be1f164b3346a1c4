-- title: Images by a part of their name or metadata
-- For the search: images of some datasets whose address or metadata holds a text, capital letters or not.
select
    i.dataset,
    i.image,
    i.uri,
    i.metadata
from image as i
where list_contains($datasets, i.dataset)
    and (contains(lower(i.uri), lower($text)) or contains(lower(cast(i.metadata as varchar)), lower($text)))
order by i.dataset, i.image
limit $k
