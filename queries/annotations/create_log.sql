-- The file of annotations beside a store, in SQLite: every entry ever written, none altered.
create table if not exists entry (
    annotation text primary key,
    subject text not null,
    model text,
    layer text,
    neuron integer,
    dataset text,
    image_set text,
    images text,
    judgement text,
    note text,
    tags text not null,
    author text not null,
    written_at text not null,
    withdrawn integer not null
) strict;
create index if not exists entry_by_subject on entry (subject, model, layer, neuron, dataset, image_set, author);
