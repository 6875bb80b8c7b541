"""What the pages of the documentation hold: links, headings, snippets and commands."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "cluster/*.md", ".github/*.md")
    for page in ROOT.glob(pattern)
    if not page.name.startswith("_")
)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]

_FENCE = re.compile(r"^(?P<mark><!-- not run: .+ -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\((?P<target>[^)\s]+)\)")
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Snippet:
    """A fenced block: its language, its text, its line on the page, and whether the page says that it is not run."""

    page: Path
    line: int
    language: str
    text: str
    runs: bool

    @property
    def place(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(page, language=None):
    text = page.read_text(encoding="utf-8")
    found = [
        Snippet(page, text[: m.start()].count("\n") + 1, m["language"], m["text"], m["mark"] is None)
        for m in _FENCE.finditer(text)
    ]
    return [s for s in found if language is None or s.language == language]


def prose(page):
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page):
    return [m["target"] for m in _LINK.finditer(re.sub(r"`[^`\n]*`", "``", prose(page)))]


def spans(page):
    """What stands in backticks."""
    return [" ".join(s.split()) for block in prose(page).split("\n\n") for s in _SPAN.findall(block)]


def anchors(page):
    """The anchors of the headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6} (.+)$", prose(page), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found[anchor] = found.get(anchor, -1) + 1
        if found[anchor]:
            found[f"{anchor}-{found[anchor]}"] = 0
    return set(found)


def commands(page):
    """Every shown command: lines of indented blocks and of blocks for a shell, and what stands in backticks."""
    lines = [line for line in prose(page).splitlines() if line.startswith("    ")]
    for snippet in snippets(page):
        if snippet.language in ("", "console", "sh", "bash", "shell"):
            lines += snippet.text.splitlines()
    for text in [*lines, *spans(page)]:
        command = re.sub(r"\s#.*$|\[[A-Z]+\]", "", text.strip())
        command = re.sub(r"\[(--[^\]]*)\]", r"\1", command)  # what may be left out
        if re.match(r"([A-Z_]+=\S+ )*(intriguing|python|make|ray|pip) [\w.-]", command):
            yield command
