-- title: Pictures as they are
-- Pictures and checksums are bytes that nothing compresses. DuckDB tried for each of them: six times as long to write 10,000
-- thumbnails of 8 KB, ten times as long to read the first 50, and the file was larger.

create table stored_image_as_it_is (
    dataset_id integer not null,
    image integer not null,
    label integer,
    width integer,
    height integer,
    thumbnail blob using compression uncompressed,
    thumbnail_type varchar,
    original blob using compression uncompressed,
    original_type varchar,
    uri varchar,
    metadata json,
    pixels_checksum blob using compression uncompressed
);
insert into stored_image_as_it_is by name
select
    dataset_id,
    image,
    label,
    width,
    height,
    thumbnail,
    thumbnail_type,
    original,
    original_type,
    uri,
    metadata,
    pixels_checksum
from stored_image;

drop table stored_image;
alter table stored_image_as_it_is rename to stored_image;

comment on table stored_image is 'One row an image, numbered from 0 in its dataset.';
comment on column stored_image.dataset_id is 'Id of the dataset.';
comment on column stored_image.image is 'Number of the image in its dataset, from 0.';
comment on column stored_image.label is 'Ground-truth category id; NULL when unknown.';
comment on column stored_image.width is 'Pixels of the original picture; NULL without a picture.';
comment on column stored_image.height is 'Pixels of the original picture; NULL without a picture.';
comment on column stored_image.thumbnail is 'The small picture, encoded; NULL without a picture.';
comment on column stored_image.thumbnail_type is 'Media type of the thumbnail, such as image/webp.';
comment on column stored_image.original is 'The original picture, encoded, when it was kept.';
comment on column stored_image.original_type is 'Media type of the original.';
comment on column stored_image.uri is 'Where the original lies, when that is known.';
comment on column stored_image.metadata is 'Free fields of the image, a JSON object.';
comment on column stored_image.pixels_checksum is 'BLAKE2b-128 of mode, size and pixels: tells whether two recordings show the same picture.';
