"""Files that stand outside docs/ and belong on the site: the project's own pages, the examples, what pages link."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

PROJECT_PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Page of the repository: its name on the site."""
EXAMPLES = "examples.md"
PACKAGE = "passkwh"
_LANGUAGES = {".py": "python", ".toml": "toml", ".jsonl": "json", ".md": "markdown"}
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def pages(root: Path) -> dict[str, str]:
    """Name on the site and Markdown of each page that is made of files outside docs/."""
    made = {name: (root / source).read_text("utf-8") for source, name in PROJECT_PAGES.items()}
    return {**made, EXAMPLES: _examples(root)}


def linked_files(root: Path) -> dict[str, Path]:
    """Name on the site and path of each file of the package that a page links, which is copied as it is."""
    links = (
        (page.parent / target).resolve()
        for page in (root / "docs").rglob("*.md")
        for target, _ in _LINK.findall(page.read_text("utf-8"))
        if "://" not in target
    )
    sources = (link.relative_to(root).as_posix() for link in links if link.is_relative_to(root / PACKAGE))
    return {f"files/{source}": root / source for source in sources if (root / source).is_file()}


def relinked(markdown: str, page: str, root: Path) -> str:
    """A page's Markdown with its links to files outside docs/ leading to where the site has them.

    A link leads from where the page's source stands in the repository. Others stay as they are, so that the strict
    build finds one that leads nowhere.
    """
    sources = {name: source for source, name in PROJECT_PAGES.items()} | {EXAMPLES: "examples/README.md"}
    folder = posixpath.dirname(sources.get(page, f"docs/{page}"))

    def led(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        if "://" in target:
            return found[0]
        place = _on_site(posixpath.normpath(posixpath.join(folder, target)), anchor)
        if place is None:
            return found[0]
        name, anchor = place
        return f"]({posixpath.relpath(name, posixpath.dirname(page) or '.')}{anchor})"

    return _LINK.sub(led, markdown)


def _on_site(path: str, anchor: str) -> tuple[str, str] | None:
    """Where a file of the repository stands on the site; None of what is not there."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/"), anchor
    if path in PROJECT_PAGES:
        return PROJECT_PAGES[path], anchor
    if path.startswith(f"{PACKAGE}/"):
        return f"files/{path}", anchor
    if path == "README.md":
        return "index.md", ""
    if path == "examples":
        return EXAMPLES, ""
    if path.startswith("examples/"):
        return EXAMPLES, "#" + _anchor(path.removeprefix("examples/"))
    return None


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _examples(root: Path) -> str:
    """The examples with their source, the package of examples file by file."""
    folder = root / "examples"
    text = (folder / "README.md").read_text("utf-8")
    for source in sorted(folder.glob("*.py")):
        text += _source(source, folder, "##")
    text += f"\n## walkthrough.ipynb {{#{_anchor('walkthrough.ipynb')}}}\n\n"
    text += "A notebook: open `examples/walkthrough.ipynb` of the repository in Jupyter.\n"
    package = folder / "plugin"
    readme = (package / "README.md").read_text("utf-8").partition("\n")[2].strip()
    text += f"\n## plugin {{#plugin}}\n\n{readme}\n"
    for source in sorted(package.rglob("*")):
        if source.suffix in _LANGUAGES and source.name not in {"README.md", "__init__.py"}:
            text += _source(source, folder, "###")
    return text


def _source(source: Path, folder: Path, heading: str) -> str:
    name = source.relative_to(folder).as_posix()
    code = source.read_text("utf-8").rstrip()
    return f"\n{heading} {name} {{#{_anchor(name)}}}\n\n```{_LANGUAGES[source.suffix]}\n{code}\n```\n"
