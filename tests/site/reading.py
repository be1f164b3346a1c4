"""What tests of our pages read a page with: its tables, links and cards."""

import html.parser
import re

from datasette.utils import tilde_encode

from deephys_sql.site.pages import html as pieces

NIGHT = "Night & Fog/ö, 100%"
BASE = "/store/-/model/net"
ENCODED = tilde_encode(NIGHT)
OWL = '<b>"owl"</b>'


class Tables(html.parser.HTMLParser):
    """The tables of a page: rows of cells, each its text and links."""

    def __init__(self, text):
        super().__init__()
        self.tables, self._cell, self.hrefs, self.tags = [], None, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append((tag, given))
        if tag == "table":
            self.tables.append((given.get("class") or "", []))
        elif tag == "tr" and self.tables:
            self.tables[-1][1].append([])
        elif tag in ("td", "th") and self.tables:
            self._cell = {"text": "", "hrefs": [], "titles": []}
            self.tables[-1][1][-1].append(self._cell)
        if tag == "a":
            self.hrefs.append(given["href"])
            if self._cell is not None:
                self._cell["hrefs"].append(given["href"])
        if self._cell is not None and given.get("title"):
            self._cell["titles"].append(given["title"])

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell["text"] += data

    def of(self, name):
        """The tables whose class holds the name."""
        return [rows for classes, rows in self.tables if name in classes.split()]


def texts(row):
    return [" ".join(cell["text"].split()) for cell in row]


def said(value):
    """A share as the pages write it."""
    return " ".join(pieces.percent(value).split())


def images_in(text, dataset, part="card"):
    """The images whose cards a page shows, in order."""
    found = re.findall(rf'<a class="{part}[^"]*" href="([^"]*)"', text)
    where = f"/dataset/{tilde_encode(dataset)}/image/"
    return [int(address.partition(where)[2].partition("?")[0]) for address in found if where in address]


def mean_responses(truth, dataset, condition, layer="fc"):
    """Mean response of each neuron over a set of images, computed from the long view."""
    return dict(
        truth.execute(
            f"select r.neuron, avg(r.response) from response as r join prediction as p using (model, dataset, image)"
            f" where r.layer = ? and r.dataset = ? and ({condition}) group by r.neuron",
            [layer, dataset],
        ).fetchall()
    )
