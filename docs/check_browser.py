"""Open the built pages in Chromium and report errors.

``python docs/check_browser.py docs/_build/html`` or ``make -C docs browser``. Needs the extras
``docs`` and ``browser``, and Chromium (``apt install chromium``). Each page is opened as on a
desktop, on a phone 390 pixels wide, and in dark mode. The exit status is 77 if there is no browser,
and 1 if there is a finding:

- an error on the console, a missing file, a request to another machine;
- a link to a page or an anchor that the site does not have;
- axe-core's rules: alternative texts, contrast, names of links and buttons;
- a page that is wider than the phone;
- a search for ``inverse_transform`` that does not find it.
"""

import shutil
import sys
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urldefrag, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import TimeoutError as NothingFound
from playwright.sync_api import sync_playwright

NO_BROWSER = 77  # the status of a skipped test in automake
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = [
    "--no-sandbox",  # the sandbox does not work for root
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no request leaves the machine
]
# Options of playwright's new_context for each reader.
READERS = {
    "desktop": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
}
SEARCHED, FOUND = "inverse_transform", "skae.AutoencoderTransformer.inverse_transform"
LINKS = "[...document.querySelectorAll('a[href]')].map(a => a.href)"
ANCHORS = "[...document.querySelectorAll('[id], a[name]')].map(a => a.id || a.name)"
# axe-core's settings: the rules of WCAG, levels A and AA.
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
    "resultTypes": ["violations"],
    "preload": False,  # it would request style sheets from wrong addresses
}
NOT_OURS = [[".citation-list"], [".sk-global summary"]]  # docutils' and scikit-learn's markup
# Number of pixels by which the article, whose container may scroll, exceeds its container.
EXCESS = """[document.documentElement, ...document.querySelectorAll('main, main div')]
    .filter(e => e.matches('html, [class^="bd-"]')).map(e => e.scrollWidth - e.clientWidth)"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Do not log requests."""


def _serve(folder):
    """Serve a folder on a free port of this machine, and return the server and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/"


@contextmanager
def _opened(context, site, address, found):
    """Open a page; yield it and a list, to which errors of the page are added."""
    page, problems = context.new_page(), []

    def on_request(request):
        if not request.url.startswith((site, "data:", "blob:")):
            problems.append(f"asks for {request.url}")

    def on_response(response):
        if response.status >= 400:
            problems.append(f"{response.status} {response.url}")

    page.on("request", on_request)
    page.on("response", on_response)
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(site + address)
    yield page, problems
    page.close()
    found += [f"{address}: {problem}" for problem in problems]


def _accessibility(page):
    """Yield a line for each element that breaks one of axe-core's rules."""
    for rule in Axe().run(page, {"exclude": NOT_OURS}, RULES).response["violations"]:
        for node in rule["nodes"]:
            yield f"{rule['id']}: {node['html'][:120]} ({rule['help']})"


def _look(page, problems):
    """Find accessibility errors, and elements that are too wide."""
    problems += _accessibility(page)
    excess = max(page.evaluate(EXCESS))
    if excess > 0:
        problems.append(f"is {excess} pixels wider than the screen")


def _search(page, problems):
    """Check that a search for the method finds it."""
    results = page.locator("#search-results .search li")
    try:
        results.filter(has_text=FOUND).first.wait_for(timeout=10_000)
    except NothingFound:
        problems.append(f"{FOUND} is not among {results.all_inner_texts()}")


def _visit(context, site, pages, links, anchors):
    """Open all pages as a reader and search; return the findings, and record links and anchors."""
    found = []
    for name in pages:
        with _opened(context, site, name, found) as (page, problems):
            _look(page, problems)
            links[name], anchors[name] = page.evaluate(LINKS), page.evaluate(ANCHORS)
    with _opened(context, site, f"search.html?q={SEARCHED}", found) as (page, problems):
        _search(page, problems)
    return found


def _broken_links(folder, site, links, anchors):
    """Yield a line for each link to a file or an anchor that the site does not have."""
    for name, targets in links.items():
        for target in sorted(set(targets)):
            if not target.startswith(site):
                continue
            address, anchor = urldefrag(target)
            path = unquote(urlsplit(address).path).lstrip("/") or "index.html"
            if not (folder / path).is_file():
                yield f"{name}: there is no {path}"
            elif anchor and path in anchors and unquote(anchor) not in anchors[path]:
                yield f"{name}: {path} has no anchor {anchor}"


def findings(folder, executable):
    """Open all pages as each reader, and return a line for each finding."""
    paths = (path.relative_to(folder) for path in folder.rglob("*.html"))
    pages = sorted(str(path) for path in paths if path.parts[0] != "_static")
    found, links, anchors = [], {}, {}
    server, site = _serve(folder)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=SWITCHES)
        for reader, settings in READERS.items():
            context = browser.new_context(**settings)
            seen = _visit(context, site, pages, links, anchors)
            found += [f"{reader}: {line}" for line in seen]
            context.close()
        browser.close()
    server.shutdown()
    found += _broken_links(folder, site, links, anchors)
    sys.stdout.write(f"{len(pages)} pages, {len(READERS)} readers, {len(found)} findings\n")
    return found


def main():
    """Print the findings; return whether there are any, or NO_BROWSER."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        names = ", ".join(BROWSERS)
        sys.stdout.write(f"None of {names} is installed: the pages were NOT opened in a browser.\n")
        return NO_BROWSER
    found = findings(Path(sys.argv[1]).resolve(), executable)
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
