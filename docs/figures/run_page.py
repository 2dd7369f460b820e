"""A picture of the page that ``minirnn inspect`` makes, as a browser shows it: writes inspect.png here.

python docs/figures/run_page.py        needs playwright and Chromium
"""

import contextlib
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from minirnn.commands.cli import main as minirnn

FOLDER = Path(__file__).resolve().parent


def main():
    text = (FOLDER.parents[1] / "examples" / "data" / "play.txt").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as work, sync_playwright() as p:
        page_file, text_file = Path(work) / "page.html", Path(work) / "play.txt"
        text_file.write_text(text[len(text) * 9 // 10 :][:6000], encoding="utf-8")
        with contextlib.chdir(work):  # the page shows the name of the text as it was given
            minirnn(["inspect", str(FOLDER / "inside.npz"), "play.txt", "--length", "6000", "--out", str(page_file)])
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 640})
        page.goto(page_file.as_uri())
        page.add_style_tag(content="body { font-family: 'DejaVu Sans', sans-serif }")  # not what a bare system says
        page.locator(".block > span").nth(300).click()
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(500)
        picture = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(FOLDER / "inspect.png", optimize=True)


if __name__ == "__main__":
    main()
