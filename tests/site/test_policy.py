"""The Content-Security-Policy of every response, on both lines of Datasette."""

import re

import jinja2
import pytest

from deephys_sql.site import policy

ADDRESSES = [
    ("/", 200),
    ("/store", 200),
    ("/store/image", 200),
    ("/store/image?_facet=label_name", 200),
    ("/store/image/clean,3", 200),
    ("/store/image.json", 200),
    ("/store/image.csv", 200),
    ("/store?sql=select+1", 200),
    ("/store/score_summary?model=net&layer=fc&score=spurious", 200),
    ("/store/nothing", 404),
    ("/nothing", 404),
    ("/-/static/app.css", 200),
    ("/store/-/home", 200),
    ("/store/-/model/net/layer/fc/neuron/0", 200),
    ("/store/-/model/net/layer/nope", 404),
    ("/store/-/picture/clean/0", 200),
    ("/store/-/original/clean/0", 200),
    ("/store/-/export.csv?table=image", 200),
]


def directives(answer):
    """The policy of an answer, a dictionary of lists."""
    return {name: allowed for name, *allowed in (part.split() for part in answer.headers["content-security-policy"].split(";"))}


@pytest.mark.parametrize(("address", "status"), ADDRESSES)
def test_every_response_carries_it(site, address, status):
    """Nothing by default, no script by being in the page, nothing of another host; and types aren't guessed."""
    answer = site.get(address, status=status)
    found = directives(answer)
    assert found["default-src"] == ["'none'"] and answer.headers["x-content-type-options"] == "nosniff"
    assert "'unsafe-inline'" not in found.get("script-src", []) and "'unsafe-eval'" not in found.get("script-src", [])
    for name, allowed in found.items():
        for one in allowed:
            assert one.startswith("'") or (one == "data:" and name == "img-src"), f"{name} {one}"


def test_scripts_of_datasettes_templates_are_allowed_and_no_others(site):
    """Each <script> that a template holds has the nonce of its response; a nonce is used once."""
    nonces = set()
    for address in ("/", "/store", "/store/image", "/store/image/clean,3", "/store?sql=select+1"):
        answer = site.get(address)
        (nonce,) = re.findall(r"'nonce-([\w-]{20,})'", answer.headers["content-security-policy"])
        scripts = re.findall(r"<script\b[^>]*>", answer.text)
        assert scripts and all(f'nonce="{nonce}"' in script for script in scripts)
        nonces.add(nonce)
    assert len(nonces) == 5


def test_a_value_with_a_script_gets_no_nonce():
    """Even markup that is put in unescaped has none: it is given to the text of templates, not to what they write."""
    environment = jinja2.Environment(extensions=[policy.Nonces])
    written = environment.from_string("<script>1</script>{{ value }}").render(value="<script>2</script><SCRIPT>3</SCRIPT>")
    assert written == '<script nonce="">1</script><script>2</script><SCRIPT>3</SCRIPT>'


def test_a_policy_of_a_pages_own_stays(site):
    """Our pages allow less than Datasette's: no inline style; an original allows nothing at all."""
    assert directives(site.get("/store/-/home"))["style-src"] == ["'self'"]
    assert directives(site.get("/store/-/original/clean/0")) == {"default-src": ["'none'"], "sandbox": []}
