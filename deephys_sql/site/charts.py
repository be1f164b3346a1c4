"""Charts: described with Altair, drawn as SVG on the server, coloured by the page's CSS variables, so that they follow dark mode.

    svg = await kept(("scatter", store.mark), lambda: scatter(points, title="..."))      # Markup, to stand in a page

Points of the scatter are links, and each mark tells what it is on hover and to screen readers.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

COLORS = {"reference": "var(--reference)", "other": "var(--other)"}
KEPT = 256  # drawings

# What the page's CSS says, for a chart that stands in an <img> and so can't see it.
PALETTE = (
    ":root{--ink:#1c1b19;--muted:#5f5b54;--line:#dedad2;--reference:#0b5cad;--other:#b04504}"
    "@media (prefers-color-scheme:dark){:root{--ink:#eceae6;--muted:#a9a69f;--line:#383c40;--reference:#77b7f7;--other:#f79a5b}}"
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','Liberation Sans',sans-serif}"
)
CONFIG = {
    "background": None,
    "padding": 2,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--ink)",
        "gridColor": "var(--line)",
        "domainColor": "var(--muted)",
        "tickColor": "var(--muted)",
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": 500,
        "gridOpacity": 0.7,
        "titlePadding": 8,
    },
    "header": {"labelColor": "var(--ink)", "titleColor": "var(--ink)", "labelFontSize": 13, "labelFontWeight": 600},
}

_drawn: OrderedDict[tuple, Markup | None] = OrderedDict()


async def kept(key: tuple, make: Callable[[], Awaitable[Markup | None]]) -> Markup | None:
    """Return the drawing that was made under this key, or make it: even to describe a chart takes longer than a page may.

    key: all that the drawing depends on, with the mark of the store's file.
    """
    if key not in _drawn:
        _drawn[key] = await make()
        while len(_drawn) > KEPT:
            _drawn.popitem(last=False)
    _drawn.move_to_end(key)
    return _drawn[key]


async def draw(spec: dict[str, Any], *, title: str, alone: bool = False) -> Markup:
    """Return a Vega-Lite chart as SVG, drawn in a thread.

    title: what the chart shows, for screen readers.
    alone: the SVG is a file of its own, with the colours in it.
    """
    return await asyncio.to_thread(_draw, spec, title, alone)


def warm_up() -> None:
    """Draw once what nobody sees: the first chart of a process takes most of a second, and a visitor should not wait for it."""
    import altair as alt

    spec = alt.Chart(alt.Data(name="points")).mark_point().to_dict(validate=False)
    _draw(_with(spec, points=[{}]), "", alone=False)


def _draw(spec: dict[str, Any], title: str, alone: bool) -> Markup:
    import vl_convert

    return Markup(_tidy(vl_convert.vegalite_to_svg(spec), title, alone))


def _tidy(svg: str, title: str, alone: bool) -> str:
    """Make Vega's SVG small and fit for a page: as wide as its place, circles as circles, a tip on every mark, no fixed fonts."""
    svg = re.sub(r' (?:font-family|aria-roledescription|role|stroke-miterlimit|aria-hidden|pointer-events|class)="[^"]*"', "", svg)
    svg = re.sub(r' (?:opacity|stroke-width)="1"', "", svg)
    svg = re.sub(r'<path d="M0,0h0v0h0Z"/>|<g></g>', "", svg)
    svg = re.sub(
        r'<path aria-label="([^"]*)" transform="translate\(([-\d.e]+),([-\d.e]+)\)" d="M([\d.]+),0A[^"]*"([^>]*?)(?:/>|></path>)',
        lambda m: f'<circle cx="{float(m[2]):.1f}" cy="{float(m[3]):.1f}" r="{float(m[4]):.1f}"{m[5]}><title>{m[1]}</title></circle>',
        svg,
    )
    svg = re.sub(r'<path aria-label="([^"]*)"([^>]*?)(?:/>|></path>)', r"<path\2><title>\1</title></path>", svg)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", svg)
    width, height = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg).groups()
    style = f"<style>{PALETTE}</style>" if alone else ""
    size = f' width="{width}" height="{height}"'
    return re.sub(
        r"^<svg[^>]*>",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"{size if alone else ""}'
        f' role="{"img" if alone else "group"}" aria-label="{escape(title)}">{style}',
        svg,
        count=1,
    )


async def scatter(
    points: Sequence[Mapping[str, Any]],
    *,
    title: str,
    within: tuple[float, float, float, float] | None = None,
    width: int = 460,
    height: int = 300,
) -> Markup:
    """Return a scatter of spurious (across) and response loss (up); novelty is what lies above 0.

    points: each with neuron, spurious, response_loss, href and tip; those without a score are left out by the caller.
    within: the part to draw, spurious from and to, response loss from and to; all points lie in it. Without it all of both.
    """
    import altair as alt

    if within is None:
        losses = [0, *(point["response_loss"] for point in points)]
        margin = (max(losses) - min(losses)) / 20 or 1
        within = (0, 1, min(losses) - margin, max(losses) + margin)
    x = alt.X("spurious:Q", title="spurious →", scale=alt.Scale(domain=within[:2]), axis=alt.Axis(tickCount=6))
    y = alt.Y("response_loss:Q", title="response loss → (above 0: novelty)", scale=alt.Scale(domain=within[2:]), axis=alt.Axis(tickCount=6))
    marks = (
        alt.Chart(alt.Data(name="points"))
        .mark_circle(size=70 if len(points) < 500 else 28)  # the colour is that of .chart circle in deephys.css, said once
        .encode(x=x, y=y, description="index:N")
    )
    zero = alt.Chart(alt.Data(name="zero")).mark_rule(color="var(--muted)", strokeDash=[3, 3]).encode(y="response_loss:Q")
    layers = (zero, marks) if within[2] <= 0 <= within[3] else (marks,)
    spec = alt.layer(*layers).properties(width=width, height=height).to_dict(validate=False)
    # Vega gets numbers only: it would make addresses absolute.
    numbers = [{"index": i, "spurious": point["spurious"], "response_loss": point["response_loss"]} for i, point in enumerate(points)]
    svg = await draw(_with(spec, points=numbers, zero=[{"response_loss": 0}]), title=title)

    def linked(found: re.Match) -> str:
        point = points[int(found[2])]
        return f'<a href="{escape(point["href"])}">{found[1]}><title>{escape(point["tip"])}</title></circle></a>'

    svg = re.sub(r'(<circle cx="[^"]*" cy="[^"]*" r="[^"]*")[^>]*><title>(\d+)</title></circle>', linked, svg)
    plot = f'd="M0,0h{width}v{height}h-{width}Z"'
    shown = " ".join(f"{value:.4g}" for value in within)
    return Markup(svg.replace(plot, f'class="plot" data-within="{shown}" {plot}', 1))


async def densities(rows: Iterable[Mapping[str, Any]], *, score: str, datasets: Sequence[str], title: str, width: int = 340) -> Markup:
    """Return the density of a score, one row a dataset, each as high as its row; the mode, its highest point, is marked.

    rows: dataset, position, density, is_mode, as the query `score_density` gives them.
    """
    import altair as alt

    points = [{"dataset": row["dataset"], "position": row["position"], "density": round(row["density"], 4)} for row in rows]
    modes = {row["dataset"]: row for row in rows if row["is_mode"]}
    shown = [{"dataset": name, "position": modes[name]["position"], "density": modes[name]["density"]} for name in datasets]
    height = max(44, 250 // len(datasets) - 24)
    charts = []
    for name in datasets:
        last = name == datasets[-1]  # one axis below all
        axis = alt.Axis(tickCount=6, format=".1f", grid=True, labels=last, ticks=last)
        x = alt.X("position:Q", title=f"{score} →" if last else None, scale=alt.Scale(domain=[0, 1]), axis=axis)
        y = alt.Y("density:Q", title=None, axis=None)
        area = alt.Chart(alt.Data(name="points")).mark_area(
            color=COLORS["other"], fillOpacity=0.22, line={"color": COLORS["other"], "strokeWidth": 1.6, "aria": False}, aria=False
        )  # fmt: skip
        rule = alt.Chart(alt.Data(name="modes")).mark_rule(color=COLORS["other"], strokeWidth=1.6, aria=False)
        layers = [one.encode(x=x, y=y).transform_filter(alt.FieldEqualPredicate(field="dataset", equal=name)) for one in (area, rule)]
        text = f"{name}, mode {modes[name]['position']:.2f}"
        heading = alt.Title(text, anchor="start", fontSize=12, color=COLORS["other"], offset=3)
        charts.append(alt.layer(*layers).properties(width=width, height=height, title=heading))
    spec = alt.vconcat(*charts, spacing=4).resolve_scale(x="shared", y="independent").to_dict(validate=False)
    svg = await draw(_with(spec, points=points, modes=shown), title=title)
    names = iter(datasets)

    def named(found: re.Match) -> str:
        name = next(names)
        return f'{found[0]} class="density" data-name="{escape(name)}" data-score="{score}" data-peak="{modes[name]["density"]:.4g}"'

    return Markup(re.sub(r'fill-opacity="0.22"', named, svg))


async def histograms(rows: Iterable[Mapping[str, Any]], *, datasets: Sequence[tuple[str, str, int]], title: str) -> Markup:
    """Return histograms of activations, one row a dataset, on one scale; heights are shares of the images, on a square-root scale.

    rows: dataset, low, high, images, as the query `activation_histogram` gives them, of all datasets. datasets: name, accent, images of
        those to draw.
    """
    import altair as alt

    totals = {name: images for name, _, images in datasets}
    rows = list(rows)
    lows = {row["low"] for row in rows}
    # An interval as narrow as float32's step holds one value: a constant, whose only bar is drawn with a width, in the middle.
    constant = len(lows) == 1 and all(row["high"] - row["low"] <= np.spacing(np.float32(abs(row["low"]))) for row in rows)
    rows = [row for row in rows if row["dataset"] in totals]
    size = max(map(abs, lows), default=0) or 1
    scale = alt.Scale(domain=[low + size * side for low in lows for side in (-1, 1)]) if constant else alt.Undefined
    bins = [
        {
            "dataset": row["dataset"],
            "low": row["low"],
            "high": row["low"] + size / 50 if constant else row["high"],
            "share": row["images"] / totals[row["dataset"]],
            "tip": f"{row['images']:,} images " + ("at {low:.3g}" if constant else "from {low:.3g} to {high:.3g}").format(**row),
        }
        for row in rows
    ]
    charts = [
        alt.Chart(alt.Data(name="bins"))
        .transform_filter(alt.FieldEqualPredicate(field="dataset", equal=name))
        .mark_rect(color=COLORS[accent], stroke=None)
        .encode(
            x=alt.X(
                "low:Q",
                title="activation →" if last else None,
                scale=scale,
                axis=alt.Axis(tickCount=8, labels=last, ticks=last, grid=False),
            ),
            x2="high:Q",
            y=alt.Y("share:Q", title=None, scale=alt.Scale(type="sqrt"), axis=alt.Axis(format=".0%", tickCount=3)),
            y2=alt.datum(0),
            description="tip:N",
        )
        .properties(width=400, height=54, title=alt.Title(name, anchor="start", fontSize=13, color=COLORS[accent], offset=2))
        for (name, accent, _), last in zip(datasets, [False] * (len(datasets) - 1) + [True])
    ]
    spec = alt.vconcat(*charts, spacing=8).resolve_scale(x="shared", y="shared").to_dict(validate=False)
    return await draw(_with(spec, bins=bins), title=title, alone=True)


def _with(spec: dict[str, Any], **data: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add the data after Altair has written the chart: so it doesn't check row after row."""
    return {**spec, "config": CONFIG, "datasets": {name: [dict(row) for row in rows] for name, rows in data.items()}}
