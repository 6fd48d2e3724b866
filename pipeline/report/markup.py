"""Small functions that write HTML, so that every text of a user is escaped in one place."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Markup:
    """HTML that is already safe; everything else is escaped when it is put into a page."""

    html: str


Content = Markup | str
NOTHING = Markup("")
VOID_ELEMENTS = ("img", "meta", "br")


def safe(content: Content) -> str:
    """Returns the HTML of markup as it is, and of plain text escaped (quotes too)."""
    return content.html if isinstance(content, Markup) else html.escape(content, quote=True)


def join(parts: Iterable[Content], between: str = "") -> Markup:
    """Returns the parts in a row, each escaped where it is plain text."""
    return Markup(between.join(safe(part) for part in parts))


def tag(name: str, /, *children: Content, **attributes: str) -> Markup:
    """Returns an element.

    Args:
        name: the element's name.
        children: what is in it; plain text is escaped.
        attributes: attributes; a trailing underscore is dropped (`class_`), others become hyphens (`aria_label`).

    Returns:
        The element, with a closing tag unless HTML allows none.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value, quote=True)}"' for key, value in attributes.items()
    )
    if name in VOID_ELEMENTS:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children).html}</{name}>")


def paragraph(*children: Content, class_: str = "") -> Markup:
    """Returns a paragraph."""
    return tag("p", *children, class_=class_) if class_ else tag("p", *children)


def bullets(items: Iterable[Content], class_: str = "plain") -> Markup:
    """Returns an unordered list."""
    return tag("ul", *(tag("li", item) for item in items), class_=class_)


def section(identifier: str, title: str, *children: Content) -> Markup:
    """Returns a section of the page with its heading, which the table of contents points to."""
    heading = tag("h2", title, id=f"{identifier}-title")
    return tag("section", heading, *children, id=identifier, aria_labelledby=f"{identifier}-title")


def subsection(title: str, *children: Content) -> Markup:
    """Returns a part of a section under a smaller heading."""
    return tag("div", tag("h3", title), *children, class_="part")


def disclosure(title: str, *children: Content) -> Markup:
    """Returns content that is folded away until asked for."""
    return tag("details", tag("summary", title), *children)


@dataclass(frozen=True)
class TableColumn:
    """One column of a table.

    Attributes:
        title: its heading, with the unit where it has one.
        numeric: set flush right, in figures of equal width.
        prose: holds sentences, and keeps room for them where the page is narrow.
    """

    title: str
    numeric: bool = False
    prose: bool = False

    @property
    def style(self) -> str:
        """Class of the column's cells."""
        return "number" if self.numeric else "prose" if self.prose else "words"


def table(
    caption: str, columns: Sequence[TableColumn], rows: Iterable[Sequence[Content]], *, marked: int = -1
) -> Markup:
    """Returns a table in a container of its own that scrolls where the page is too narrow.

    Args:
        caption: what the table shows.
        columns: its columns; the first one heads the rows.
        rows: cells, as many as there are columns.
        marked: index of a row to set off; none when negative.

    Returns:
        The table; headings carry their scope for screen readers.
    """
    classes = [column.style for column in columns]
    head = tag("tr", *(tag("th", c.title, scope="col", class_=k) for c, k in zip(columns, classes, strict=True)))
    body = []
    for index, row in enumerate(rows):
        first, *others = zip(row, classes, strict=True)
        cells = [tag("th", first[0], scope="row", class_=first[1])]
        cells += [tag("td", cell, class_=class_) for cell, class_ in others]
        body.append(tag("tr", *cells, class_="marked") if index == marked else tag("tr", *cells))
    whole = tag("table", tag("caption", tag("span", caption)), tag("thead", head), tag("tbody", *body))
    return scrolling(caption, whole)


def scrolling(label: str, *children: Content) -> Markup:
    """Returns a container that scrolls sideways by itself; focusable, so that a keyboard can scroll it."""
    return tag("div", *children, class_="scroll", role="region", aria_label=label, tabindex="0")


def facts(pairs: Iterable[tuple[str, Content]]) -> Markup:
    """Returns terms and what they are, as a description list."""
    items = [tag("div", tag("dt", term), tag("dd", value)) for term, value in pairs]
    return tag("dl", *items, class_="facts")


def badge(text: str, kind: str) -> Markup:
    """Returns a short verdict; `kind` is good, bad, warn or plain. The text says it without the colour."""
    return tag("span", text, class_=f"badge {kind}")
