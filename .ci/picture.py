"""The README's picture: what the demo's page opens with, and a page of its units. Needs a Chromium.

python .ci/picture.py outputs/demo/report.html .ci/demo.png
"""

import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.browser import Browser

WIDTH, TOP, UNITS = 1300, 720, 760


def main(page: str, out: str) -> None:
    """Two pieces of the page, one below the other."""
    browser = Browser()
    try:
        pieces = []
        with tempfile.TemporaryDirectory() as folder:
            for anchor, height, ready in (("", TOP, "true"), ("units", UNITS, "document.querySelector('.tile')")):
                browser.open(page, width=WIDTH, height=height)
                browser.do(f"document.getElementById('{anchor}')?.scrollIntoView({{behavior: 'instant'}})")
                browser.until(ready)
                time.sleep(3)  # for the sheets of thumbnails to be painted
                browser.picture(Path(folder) / "piece.png")
                pieces.append(Image.open(io.BytesIO((Path(folder) / "piece.png").read_bytes())).convert("RGB"))
        whole = Image.new("RGB", (WIDTH, TOP + UNITS))
        whole.paste(pieces[0], (0, 0))
        whole.paste(pieces[1], (0, TOP))
        whole.save(out, optimize=True)
    finally:
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
