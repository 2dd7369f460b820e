"""The site: every page is built without a warning, no link is dead, nothing is wider than a screen, no code is lost."""

import io
import itertools
import json
import re
import shutil
import subprocess
import sys
import tokenize
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from conftest import ROOT

pytest.importorskip("furo", reason='the site needs the extra: pip install ".[docs]"')
pytestmark = pytest.mark.filterwarnings("default")  # those of the builder's packages are not ours
sys.path.insert(0, str(ROOT / "docs" / "site"))

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    run = subprocess.run([sys.executable, ROOT / "docs" / "build.py", "--out", out], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return out


class Page(HTMLParser):
    """What a page links to and loads, and the names that can be linked to."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.loaded, self.names = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.names |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.targets.append(given["href"])
        elif tag in ("img", "script", "link", "source") and (given.get("src") or given.get("href")):
            self.loaded.append(given.get("src") or given["href"])


def test_no_link_is_dead_and_nothing_is_loaded_from_the_network(site):
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html")}
    followed = 0
    for path, page in pages.items():
        for target in page.targets + page.loaded:
            if re.match(r"\w+:", target):
                assert target not in page.loaded, f"{path.name} loads {target}"
                continue
            file, _, name = unquote(target).partition("#")
            file = (path.parent / file.partition("?")[0]).resolve() if file else path
            assert file.exists(), f"{path.relative_to(site)} links to {target}"
            if name and file in pages:
                assert name in pages[file].names, f"{path.relative_to(site)} links to {target}, where {name} is missing"
            followed += 1
    assert len(pages) >= 20 and followed >= 1000


def test_every_formula_is_mathml(site):
    text = (site / "03-backpropagation.html").read_text()
    assert text.count("<math ") >= 50 and "$" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL)
    assert not any("mathjax" in target.lower() for target in Page(text).loaded)


def test_every_formula_of_every_chapter_is_converted(site):
    math = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL)
    total = 0
    for name in re.findall(r"\(([\w-]+)\.md\)", (ROOT / "docs" / "README.md").read_text()):
        text = re.sub(r"^```.*?^```|`[^`\n]+`", "", (ROOT / "docs" / f"{name}.md").read_text(), flags=re.DOTALL | re.M)
        assert (site / f"{name}.html").read_text().count("<math ") == len(math.findall(text)), name
        total += len(math.findall(text))
    assert total >= 250


def lines_of_code(source):
    """The lines that are neither blank nor comment nor docstring, found without the parser that the site uses."""
    layout = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type != tokenize.COMMENT]
    wanted, depth = set(), 0
    for before, token in itertools.pairwise([None, *tokens]):
        depth += token.string in ("(", "[", "{") and token.type == tokenize.OP
        depth -= token.string in (")", "]", "}") and token.type == tokenize.OP
        a_docstring = token.type == tokenize.STRING and depth == 0 and (before is None or before.type in layout)
        if token.type not in layout and not a_docstring:
            wanted |= set(range(token.start[0], token.end[0] + 1))
    return [line for number, line in enumerate(source.splitlines(), 1) if number in wanted]


@pytest.mark.parametrize("name", ["rnn", "ops", "model", "gradcheck", "train", "optim"])
def test_the_annotated_source_has_every_line_of_code_once(name):
    from annotated import rows

    source = (ROOT / "minirnn" / f"{name}.py").read_text()
    shown = list(rows(source))
    assert [line for _, code in shown for line in code.splitlines() if line.strip()] == lines_of_code(source)
    prose = "\n".join(text for text, _ in shown)
    assert all(
        line.strip().lstrip("#").strip(" -") in prose for line in source.splitlines() if line.strip().startswith("#")
    )


def test_the_chapters_become_notebooks(tmp_path):
    run = [sys.executable, ROOT / "docs" / "build.py", "--notebooks", tmp_path]
    subprocess.run(run, capture_output=True, text=True, check=True)
    chapters = [json.loads(path.read_text()) for path in tmp_path.glob("*.ipynb")]
    assert len(chapters) == len(re.findall(r"^\| \d+ \|", (ROOT / "docs" / "README.md").read_text(), re.MULTILINE))
    for chapter in chapters:
        kinds = [cell["cell_type"] for cell in chapter["cells"]]
        assert kinds.count("code") >= 3 and kinds.count("markdown") >= 3
        shown = "".join("".join(cell["source"]) for cell in chapter["cells"])
        assert not re.search(r"^```python", shown, re.MULTILINE) and shown.count("```text") <= 1  # a drawing may stay


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_every_page_fits_every_screen(site):
    playwright = pytest.importorskip("playwright.sync_api", reason="the pages are looked at with playwright")
    problems = []
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=BROWSER, args=SWITCHES)
        for width, scheme in ((380, "light"), (1400, "dark")):
            page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
            page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
            page.on("requestfailed", lambda request: problems.append(f"{request.url} could not be loaded"))
            for path in sorted(site.rglob("*.html")):
                page.goto(path.as_uri())
                wide = page.evaluate("document.documentElement.scrollWidth")
                if wide > width:
                    problems.append(f"{path.relative_to(site)} is {wide} px wide on a screen of {width}")
            page.goto((site / "source" / "minirnn" / "rnn.py.html").as_uri())
            columns = page.evaluate(
                "new Set([...document.querySelector('.annotated .row').children].map(c => c.offsetLeft)).size"
            )
            if columns != (1 if width == 380 else 2):
                problems.append(f"annotated source has {columns} column(s) on a screen of {width}")
            page.goto((site / "index.html").as_uri())
            sizes = page.evaluate("[...document.querySelectorAll('article img')].map(i => i.naturalWidth)")
            if not sizes or not all(sizes):
                problems.append(f"pictures of the start page: {sizes}")
        # Without JavaScript the text, its formulas and its folded answers are there.
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto((site / "03-backpropagation.html").as_uri())
        if not (page.locator("article math").first.is_visible() and page.locator("article details").count()):
            problems.append("a chapter cannot be read without JavaScript")
        browser.close()
    assert not problems, problems
