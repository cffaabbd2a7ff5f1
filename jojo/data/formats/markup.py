"""Text of replies that were saved from a chat page as HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

# How a saved reply begins. HTML further on is what the chat was about: it stays.
SAVED = re.compile(r'\s*(?:<div\b[^>]*>\s*)*(?:<div\b[^>]*class="[^"]*\b(?:markdown|prose)\b|<p>)')
BLOCKS = {"p", "div", "blockquote", "table", "tr", *(f"h{n}" for n in range(1, 7))}
UNSEEN = {"button", "script", "style", "svg"}  # "Copy code" is a button


def plain_text(text: str) -> str:
    """The text of a saved reply with Markdown for lists and code; any other text as it is."""
    if not SAVED.match(text):
        return text
    page = _Page()
    page.feed(text)
    page.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(page.pieces)).strip()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.lists: list[int | None] = []  # the open ones: the item reached; None: no numbers
        self.unseen = 0
        self.in_block = False  # of code: <pre>language<code>...</code></pre>

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in UNSEEN:
            self.unseen += 1
        elif tag in ("ul", "ol"):
            self.lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self.pieces.append(f"\n{self._bullet()} ")
        elif tag == "pre":
            self.in_block = True
            self.pieces.append("\n\n```")
        elif tag == "code":
            self.pieces.append("\n" if self.in_block else "`")
        elif tag == "br":
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in UNSEEN:
            self.unseen = max(0, self.unseen - 1)
        elif tag == "pre":
            self.in_block = False
            self.pieces.append("\n```\n\n")
        elif tag == "code" and not self.in_block:
            self.pieces.append("`")
        elif tag in ("ul", "ol"):
            del self.lists[-1:]
            self.pieces.append("\n\n")
        elif tag in BLOCKS and not self.lists and not self.in_block:
            self.pieces.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.pieces.append(data if self.in_block else re.sub(r"\s+", " ", data))

    def _bullet(self) -> str:
        if not self.lists or self.lists[-1] is None:
            return "-"
        self.lists[-1] += 1
        return f"{self.lists[-1]}."
