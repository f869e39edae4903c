"""What the notebooks share: where releases are, and how pictures look."""

import os
import pathlib

import altair as alt
import polars as pl

RELEASES = pathlib.Path(os.environ.get("RELEASES", "releases"))
BLUE, ORANGE, GREY = "#1b7896", "#cf5a32", "#9aa7b2"


@alt.theme.register("discretail", enable=True)
def theme():
    return alt.theme.ThemeConfig({
        "config": {
            "view": {"stroke": None}, "font": "DejaVu Sans", "background": "white",
            "axis": {"grid": True, "gridColor": "#e5e9ee", "domain": False, "ticks": False, "labelPadding": 6,
                     "titleFontWeight": "normal", "titleColor": "#566370", "labelColor": "#33404d"},
            "title": {"anchor": "start", "fontSize": 15, "subtitleColor": "#566370", "offset": 14},
            "range": {"category": [BLUE, ORANGE, "#4f8a2b", "#7d4fa8", "#a97800"]},
        },
    })


alt.renderers.enable("png", scale_factor=1.5)


def table(release, name):
    """A released table; money as floats, dictionaries as texts."""
    frame = pl.read_parquet(RELEASES / release / f"{name}.parquet")
    return frame.with_columns(pl.col(pl.Decimal).cast(pl.Float64), pl.col(pl.Categorical).cast(pl.String))
