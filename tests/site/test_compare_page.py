"""The comparison of two datasets shows the numbers that SQL gives."""

from reading import BASE, NIGHT, Tables, images_in, said, texts

from deephys_sql.site.pages import html as pieces


def test_compare_shows_accuracy_by_category_and_changes_of_response(web, truth):
    """Recall of both datasets and its drop by category; losses and gains are the response_loss of neuron_score, largest first."""
    page = Tables(web.get(f"{BASE}/compare", layer="fc").text)
    recalls = {(d, c): recall for d, c, recall in truth.execute("select dataset, category, recall from accuracy").fetchall()}
    names = dict(truth.execute("select category, category_name from category").fetchall())
    drops = {c: recalls["clean", c] - recalls[NIGHT, c] for c in names}
    ranked = sorted(names, key=lambda c: (-drops[c], c))
    rows = page.of("numbers")[0][1:]
    assert [texts(row)[0] for row in rows] == [names[c] for c in ranked]
    assert [(texts(row)[1], texts(row)[3], texts(row)[5]) for row in rows] == [
        (said(recalls["clean", c]), said(recalls[NIGHT, c]), pieces.fixed(drops[c] * 100, 1)) for c in ranked
    ]
    losses = dict(
        truth.execute("select neuron, response_loss from neuron_score where layer = 'fc' and response_loss is not null").fetchall()
    )
    for rows, sign in zip(page.of("by-neuron"), (1, -1)):
        some = sorted((-sign * loss, neuron) for neuron, loss in losses.items() if sign * loss > 0)
        assert [(int(texts(row)[0]), texts(row)[1]) for row in rows[1:]] == [(neuron, pieces.fixed(-size)) for size, neuron in some][:8]


def test_images_most_wrong(web, truth):
    """The comparison ends with the k most confident wrong predictions."""
    expected = truth.execute(
        "select image from prediction where dataset = ? and not correct order by confidence desc, image limit 10", [NIGHT]
    ).fetchall()
    assert images_in(web.get(f"{BASE}/compare", k=10).text, NIGHT) == [image for (image,) in expected]
