"""The site has every page, and is built without a warning; links are checked without MkDocs in test_docs.py."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.docs.pages import PAGES, ROOT

OUTSIDE = {"README.md": "index.md"}


def test_the_navigation_of_the_site_has_every_page_once():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = re.findall(r": ([\w/-]+\.md)$", nav, re.M)
    pages = [str(page.relative_to(ROOT)).removeprefix("docs/") for page in PAGES]
    assert sorted(listed) == sorted(OUTSIDE.get(page, page) for page in pages if not page.startswith(".github"))


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="`make site` installs MkDocs")
def test_the_site_is_built_without_a_warning(tmp_path):
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "site" / "index.html").read_text()
    assert 'href="guides/running.html"' in home and 'href="SECURITY.html"' in home and 'src="ci/demo.png"' in home
    assert (tmp_path / "site" / "ci" / "demo.png").exists()
    assert (tmp_path / "site" / "notebooks" / "own-model.ipynb").exists()
    assert 'href="../SECURITY.html"' in (tmp_path / "site" / "guides" / "running.html").read_text()
    assert "https://fonts" not in home  # nothing is fetched from elsewhere
