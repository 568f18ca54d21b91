"""What MkDocs calls while it builds the site: pages that are made of the code, files from outside docs/, pictures.

A page of docs/ says ``<!-- made: NAME -->`` where text is put in that is made of the code, so that it is a file that
people can link and read in the repository, too. MkDocs puts this folder on the path while it loads the hook.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import command_pages
import gallery_page
import outside_files
import record_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
MADE: dict[str, Callable[[], str]] = {
    "command line": command_pages.markdown,
    "measures": record_pages.measures,
    "registries": record_pages.registries,
    "records": record_pages.records,
    "gallery": gallery_page.markdown,
}
_MARK = re.compile(r"^<!-- made: (.+) -->$", re.MULTILINE)
_LOG = logging.getLogger("mkdocs.plugins.passkwh")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/, the files that pages link there, and the gallery's pictures."""
    for name, text in outside_files.pages(ROOT).items():
        files.append(File.generated(config, name, content=text))
    for name, path in outside_files.linked_files(ROOT).items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    for name, picture in gallery_page.pictures().items():
        files.append(File.generated(config, name, content=picture))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in what is made of the code, and lead links to files outside docs/ to where the site has them."""

    def made(found: re.Match[str]) -> str:
        if found[1] not in MADE:
            _LOG.warning("%s asks for %r: there are %s", page.file.src_uri, found[1], ", ".join(MADE))
            return found[0]
        return MADE[found[1]]()

    return outside_files.relinked(_MARK.sub(made, markdown), page.file.src_uri, ROOT)


def on_post_build(*, config: MkDocsConfig) -> None:
    """Make the board that the gallery shows."""
    gallery_page.write_board(Path(config.site_dir, "gallery", "board"))
