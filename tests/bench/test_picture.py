"""The picture in README.md."""

import json
from xml.etree import ElementTree as ET

from bench.picture import PICTURE, RECORD, ROOT, draw, panels

DRAWN = panels(json.loads(RECORD.read_text("utf-8")))
DECISION = ROOT / "docs" / "decisions" / "0027-our-own-posts.md"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_committed_picture_is_that_of_the_committed_record() -> None:
    assert PICTURE.read_text("utf-8") == draw(DRAWN)


def test_it_shows_the_figures_of_the_decision() -> None:
    text = DECISION.read_text("utf-8")

    assert [len(panel.bars) for panel in DRAWN] == [7, 7]
    assert [it for panel in DRAWN for it in panel.bars if f"{it.posts:,}" not in text] == []


def test_it_can_be_read_without_seeing_it() -> None:
    picture = ET.fromstring(draw(DRAWN))  # noqa: S314  we made it

    assert picture.get("role") == "img"
    assert picture.findtext(f"{SVG}title")
    described = picture.findtext(f"{SVG}desc") or ""
    assert [
        it for panel in DRAWN for it in panel.bars if f"{it.name}: {it.posts:,}" not in described
    ] == []


def test_longer_bars_are_more_posts() -> None:
    picture = ET.fromstring(draw(DRAWN))  # noqa: S314  we made it

    lengths = [int(it.get("width", "")) for it in picture.iter(f"{SVG}rect")]
    posts = [it.posts for panel in DRAWN for it in panel.bars]
    by_posts = [length for _, length in sorted(zip(posts, lengths, strict=True))]
    assert by_posts == sorted(lengths)
