"""A hook of MkDocs: pages that lie outside docs/ are a part of the site, and links lead to where they stand there."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "SECURITY.md": "SECURITY.md",
    "cluster/README.md": "cluster/README.md",
}
"""Pages of the repository outside docs/, and where they stand on the site."""

_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.M | re.S)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages outside docs/, and the files that any page links to."""
    linked = set()
    for source in [*PAGES, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]:
        text = (ROOT / source).read_text(encoding="utf-8")
        linked |= {target for target in (_target(source, m[2]) for m in _links(text)) if target}
    for source, there in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, there, content=rewritten(text, source, there)))
    for target in sorted(linked - set(PAGES)):
        if not target.startswith("docs/") and (ROOT / target).is_file():
            files.append(File.generated(config, _on_site(target), abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The links of a page of docs/ that lead out of it."""
    here = page.file.src_uri
    return markdown if here in PAGES.values() else rewritten(markdown, f"docs/{here}", here)


def rewritten(text: str, source: str, there: str) -> str:
    """A page's text, whose links lead where they did from the file `source` when it stands at `there` on the site."""

    def moved(match: re.Match[str]) -> str:
        target = _target(source, match[2])
        if target is None:
            return match[0]
        link = posixpath.relpath(_on_site(target), posixpath.dirname(there) or ".")
        return f"{match[1]}{link}{match[3] or ''}{match[4]}"

    return "".join(part if at % 2 else _LINK.sub(moved, part) for at, part in enumerate(_CODE.split(text)))


def _links(text: str) -> list[re.Match[str]]:
    return [match for part in _CODE.split(text)[::2] for match in _LINK.finditer(part)]


def _target(source: str, link: str) -> str | None:
    """The file of the repository that a link of the file `source` leads to; None where it is no file."""
    if re.match(r"[a-z]+:", link):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return target if (ROOT / target).is_file() else None


def _on_site(target: str) -> str:
    """Where a file of the repository stands on the site."""
    return PAGES.get(target) or target.removeprefix("docs/").lstrip(".")
