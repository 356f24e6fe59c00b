"""A page as a reader meets it: its words, its links."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "br", "link", "hr", "input", "source"}


class Reader(HTMLParser):
    """Tags that are open, places that are pointed at, and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.targets += [found[k] for k in ("src", "href", "srcset", "data") if k in found]
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "img":
            assert "alt" in found

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read_page(path: Path) -> tuple[str, Reader]:
    """Words of a page without mark-up, and what its tags say."""
    reader = Reader()
    reader.feed(path.read_text("utf-8"))
    reader.close()
    assert reader.open == []
    return " ".join(" ".join(reader.text).split()), reader
