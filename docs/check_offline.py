"""Check that no built page loads anything from another machine.

``python docs/check_offline.py docs/_build/html`` or ``make -C docs offline``. Links that a reader
may click are allowed; files that a browser loads by itself are not.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

# Attributes whose files browsers load; also href of link, except for these relations.
LOADED = {"src", "srcset", "poster", "data", "background"}
NOT_LOADED_RELATIONS = {"canonical", "author", "license", "next", "prev", "index", "search"}
REMOTE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
IN_CSS = re.compile(r"""(?:@import\s+|url\()\s*["']?(?:https?:)?//[^"')\s]+""", re.IGNORECASE)
IN_JS = re.compile(
    r"""(?:fetch|import|importScripts|open)\s*\(\s*(?:["']GET["']\s*,\s*)?["'`]https?://[^"'`]+""",
    re.IGNORECASE,
)


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.inside = [], None

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        loaded = LOADED
        if tag == "link" and not set((values.get("rel") or "").split()) & NOT_LOADED_RELATIONS:
            loaded = LOADED | {"href"}
        self.found += [
            f"<{tag} {n}={v}>" for n, v in attrs if n in loaded and REMOTE.match(v or "")
        ]
        if tag == "img" and not (values.get("alt") or "").strip():
            self.found.append(f"<img src={values.get('src')}> has no alternative text")
        self.found += IN_CSS.findall(values.get("style") or "")
        self.inside = tag

    def handle_data(self, data):
        if self.inside == "style":
            self.found += IN_CSS.findall(data)
        elif self.inside == "script":
            self.found += IN_JS.findall(data)


def findings(folder):
    """Yield a line for each file that a page would load from another machine."""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".html", ".css", ".js"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".html":
            page = _Page()
            page.feed(text)
            found = page.found
        else:
            found = (IN_CSS if path.suffix == ".css" else IN_JS).findall(text)
        yield from (f"{path.relative_to(folder)}: {thing}" for thing in found)


if __name__ == "__main__":
    lines = list(findings(Path(sys.argv[1])))
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.write(f"{len(lines)} findings\n")
    sys.exit(1 if lines else 0)
