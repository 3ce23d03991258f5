"""A page read again: its tags and texts, and whether every element that was opened is closed in turn."""

from html.parser import HTMLParser

_VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Tags in order, texts by tag, and addresses outside the page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self._texts: list[tuple[str, list[str]]] = []
        self._inside: list[list[str]] = []

    def text_of(self, tag: str) -> list[str]:
        """What each element of a tag says, with those inside it."""
        return ["".join(parts) for name, parts in self._texts if name == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href") and not (value or "").startswith("data:"):
                self.links.append(value or "")
        if tag not in _VOID:
            self._open.append(tag)
            self._texts.append((tag, []))
            self._inside.append(self._texts[-1][1])

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open}"
        self._open.pop()
        self._inside.pop()

    def handle_data(self, data: str) -> None:
        for parts in self._inside:
            parts.append(data)

    def finish(self) -> None:
        """Nothing may be left open."""
        self.close()
        assert self._open == []


def parsed(markup: str) -> Page:
    """The page; fails where elements are not closed in turn."""
    page = Page()
    page.feed(markup)
    page.finish()
    return page
