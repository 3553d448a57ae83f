"""What must not stand in the built pages: parts that need the network, scripts that a browser refuses."""

import re
from collections.abc import Iterator
from pathlib import Path

SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.DOTALL)
DECLARATION = re.compile(r"(?:^|[;{}\s])(?:const|let|class)\s+([A-Za-z_$][\w$]*)")


def remote_parts(html: Path) -> list[str]:
    """What the pages below `html` would load remotely: `page: address` of scripts, styles and pictures."""
    tag = re.compile(r"<(?:script|img|iframe|link)\b[^>]*>")
    address = re.compile(r"""\b(?:src|href)=["']((?:https?:)?//[^"']+)""")
    remote = []
    for page, text in _pages(html):
        loading = [part for part in tag.findall(text) if not part.startswith("<link") or "stylesheet" in part]
        remote += [f"{page}: {match[1]}" for part in loading if (match := address.search(part))]
    return remote


def declared_twice(html: Path) -> list[str]:
    """`page: name` of what the scripts within a page declare twice at their outermost level.

    By const, let or class. All scripts of a page share that level, so a browser refuses the whole second
    script with a SyntaxError.
    """
    twice = []
    for page, text in _pages(html):
        names = [name for script in _scripts(text) for name in DECLARATION.findall(_outermost(script))]
        twice += [f"{page}: {name}" for name in dict.fromkeys(names) if names.count(name) > 1]
    return twice


def _pages(html: Path) -> Iterator[tuple[Path, str]]:
    """Path below `html` and text of each page that we write."""
    for page in sorted(html.rglob("*.html")):
        if "_static" not in page.parts:
            yield page.relative_to(html), page.read_text(encoding="utf-8")


def _scripts(text: str) -> Iterator[str]:
    """The JavaScript that stands in a page itself; modules have a level of their own, data are no script."""
    for attributes, script in SCRIPT.findall(text):
        kind = re.search(r"""\btype=["']([^"']*)""", attributes)
        if kind is None or kind[1] in ("", "text/javascript", "application/javascript"):
            yield script


def _outermost(script: str) -> str:
    """A script without what stands in braces."""
    while (shorter := re.sub(r"\{[^{}]*\}", " ", script)) != script:
        script = shorter
    return script
