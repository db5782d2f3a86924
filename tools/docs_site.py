"""What MkDocs does not do by itself: pages from outside of ``docs/``, links to the rest of the checkout, notebooks.

A hook of ``mkdocs.yml``. The same Markdown has to work in a viewer of the repository and in the site, which a link such
as ``../configs/blue-marble.yaml`` leaves; so a file that is linked to is copied beside the pages, and the link is
changed to lead to the copy. The changelog, the atlas's sources and the notebooks become pages of their own.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

PAGES = {"CHANGELOG.md": "changelog.md", "data/atlas/ATTRIBUTION.md": "atlas-sources.md", "README.md": "index.md"}
"""Files of the checkout that are pages of the site; the README's part is played by the start page, which is its own."""

INCLUDED = [origin for origin, page in PAGES.items() if page != "index.md"]
COPIES = "files"

_LINK = re.compile(r"(?<!\\)(\]\()([^)\s]+)((?:\s+\"[^\"]*\")?\))")
_CODE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[^\n]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace every pattern in the nav by the files that match it and are not named, in the order of their names."""
    docs = Path(config.docs_dir)
    there = [path.relative_to(docs).as_posix() for path in docs.rglob("*.md")]
    there += [path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb")]
    named = set(_named(config.nav or []))
    config.nav = _expand(config.nav or [], sorted(set(there) - named))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from elsewhere, and a copy of every file of the checkout that a page links to."""
    from mkdocs.structure.files import File

    for origin in INCLUDED:
        files.append(File.generated(config, PAGES[origin], content=(ROOT / origin).read_text("utf-8")))
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        text, pictures = notebook_page(notebook.stem, json.loads(notebook.read_text("utf-8")))
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    for file in list(files.documentation_pages()):
        for target in outgoing(file.content_string, origin_of(file.src_uri)):
            copy = site_path(target)
            if copy.startswith(f"{COPIES}/") and copy not in files.src_uris:
                files.append(File.generated(config, copy, content=(ROOT / target).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the checkout into links within the site."""
    return rewrite(markdown, page.file.src_uri)


def rewrite(markdown: str, src_uri: str) -> str:
    """A page's Markdown with its links to files of the checkout turned into links within the site.

    Args:
        markdown: as it stands in the checkout.
        src_uri: of the page within the site, with slashes.
    """
    origin, here = origin_of(src_uri), posixpath.dirname(src_uri)

    def change(found: re.Match[str]) -> str:
        path, hash_, anchor = found[2].partition("#")
        target = _resolve(path, origin)
        if target is None:
            return found[0]
        return f"{found[1]}{posixpath.relpath(site_path(target), here or '.')}{hash_}{anchor}{found[3]}"

    parts = _CODE.split(markdown)
    return "".join(part if i % 2 else _LINK.sub(change, part) for i, part in enumerate(parts))


def outgoing(markdown: str, origin: str) -> list[str]:
    """The files of the checkout that a page links to, relative to its root."""
    text = "".join(_CODE.split(markdown)[::2])
    targets = (_resolve(found[2].partition("#")[0], origin) for found in _LINK.finditer(text))
    return [target for target in targets if target is not None]


def origin_of(src_uri: str) -> str:
    """Where a page of the site lies in the checkout."""
    for origin in INCLUDED:
        if PAGES[origin] == src_uri:
            return origin
    notebook = re.fullmatch(r"(notebooks/[^/]+)\.md", src_uri)
    return f"{notebook[1]}.ipynb" if notebook else f"docs/{src_uri}"


def site_path(target: str) -> str:
    """Where a file of the checkout lies in the site."""
    if target in PAGES:
        return PAGES[target]
    if re.fullmatch(r"notebooks/[^/]+\.ipynb", target):
        return target.removesuffix(".ipynb") + ".md"
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return f"{COPIES}/{target}" + (".txt" if target.endswith(".md") else "")


def notebook_page(stem: str, notebook: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and the pictures it shows by their file names.

    Args:
        stem: the notebook's name without ``.ipynb``; pictures are called after it.
        notebook: its JSON, nbformat 4.
    """
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).strip("\n")
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source:
            parts.append(f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![What this prints]({name})")
            elif text := "".join(output.get("text") or data.get("text/plain") or "").strip("\n"):
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n", pictures


def _resolve(path: str, origin: str) -> str | None:
    """The file of the checkout that a relative link of the file ``origin`` leads to, or None for any other link."""
    if not path or re.match(r"[a-z][a-z0-9+.-]*:|/", path):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
    return target if not target.startswith("..") and os.path.isfile(ROOT / target) else None


def _named(entries: Any) -> Iterator[str]:
    """The files that a nav names, patterns included."""
    for entry in entries:
        inside = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from _named(inside) if isinstance(inside, list) else [inside]


def _expand(entries: Any, there: list[str]) -> Any:
    """The nav with its patterns replaced, and sections that became empty left out."""
    found: list[Any] = []
    for entry in entries:
        if isinstance(entry, str) and "*" in entry:
            found += [site_path(path) if path.endswith(".ipynb") else path for path in fnmatch.filter(there, entry)]
        elif isinstance(entry, dict) and isinstance(section := next(iter(entry.values())), list):
            if inside := _expand(section, there):
                found.append({next(iter(entry)): inside})
        else:
            found.append(entry)
    return found
