-- In SQLite: one entry more.
insert into entry (
    annotation, subject, model, layer, neuron, dataset, image_set, images, judgement, note, tags, author, written_at, withdrawn
)
values (
    :annotation, :subject, :model, :layer, :neuron, :dataset, :image_set, :images, :judgement, :note, :tags, :author, :written_at,
    :withdrawn
)
