"""The site builds without a warning, every link in it leads somewhere, and what is made from the code is not stale."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer
import yaml

from app.cli import app
from tools import cli_reference, docs_site, error_messages, error_pages, model_card

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGES = ("data", "model", "indexer", "app")


@dataclass
class Page(HTMLParser):
    """Links, sources and anchors of one page."""

    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect", "dns-prefetch"):
            self.fetched.append(given["href"])
        elif "src" in given:
            self.fetched.append(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning fails the build."""
    out = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page of the site, read."""
    found = {}
    for path in site.rglob("*.html"):
        page = found[path] = Page()
        page.feed(path.read_text("utf-8"))
    return found


def test_every_link_within_the_site_leads_to_a_file_and_an_anchor(site: Path, pages: dict[Path, Page]) -> None:
    dead, seen = [], 0
    for path, page in pages.items():
        if path.name == "404.html":  # shown at any address, so its links begin at the root
            continue
        for link in page.links + page.fetched:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            seen += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target = target / "index.html"
            anchor = unquote(parts.fragment)
            known = not anchor or target not in pages or anchor in pages[target].anchors
            if not target.is_relative_to(site) or not target.is_file() or not known:
                dead.append(f"{path.relative_to(site)}: {link}")
    assert seen > 1000
    assert dead == []


def test_links_to_elsewhere_are_whole_and_nothing_is_fetched_from_there(pages: dict[Path, Page]) -> None:
    outward = {link for page in pages.values() for link in page.links if urlsplit(link).scheme}
    assert outward
    for link in outward:
        assert re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[^\s<>\"]*)?", link), link
    for path, page in pages.items():
        for address in page.fetched:
            assert not urlsplit(address).netloc and not address.startswith("http"), f"{path.name} fetches {address}"


def test_no_style_fetches_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", path.read_text("utf-8")), path.name


def nav_files(entries: list[object]) -> Iterator[str]:
    for entry in entries:
        inside = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from nav_files(inside) if isinstance(inside, list) else [str(inside)]


def test_every_page_is_in_the_nav() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    patterns = list(nav_files(config["nav"]))
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    missing = {page for page in there if not any(Path(page).match(pattern) for pattern in patterns)}
    assert not missing


def test_every_command_and_every_option_of_it_stands_in_the_reference() -> None:
    page = cli_reference.OUT.read_text("utf-8")
    sections = {m[1]: m[2] for m in re.finditer(r"^##+ (samewhere .*)\n((?:(?!^##).*\n)*)", page, re.MULTILINE)}
    root = typer.main.get_command(app)
    found = 0

    def walk(words: str, command: object) -> None:
        nonlocal found
        for name, inner in getattr(command, "commands", {}).items():
            walk(f"{words} {name}", inner)
        if not hasattr(command, "commands"):
            found += 1
            options = {name for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("-")}
            assert options == set(re.findall(r"`(--?[a-z][a-z-]*)`", "".join(cells_of(sections[words], 0)))), words

    walk("samewhere", root)
    assert found == sum(1 for _ in cli_reference.commands(app)) > 20


def cells_of(text: str, column: int) -> list[str]:
    """The cells of a column of the tables in a text."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [row[column].strip() for row in rows]


def test_the_reference_is_what_the_commands_say_today() -> None:
    fresh = cli_reference.page(app)
    assert cli_reference.OUT.read_text("utf-8") == fresh, "run python -m tools.cli_reference"


def test_the_model_card_is_what_the_weights_say_today() -> None:
    page = model_card.OUT.read_text("utf-8")
    assert page == model_card.put(page), "run python -m tools.model_card"


def test_the_table_of_messages_is_what_the_code_says_today() -> None:
    page = error_pages.OUT.read_text("utf-8")
    assert page == error_pages.put(page), "run python -m tools.error_pages"


def raised() -> Iterator[tuple[str, list[str]]]:
    """Where each error of the project is raised, and the constant texts of its message, read without the tools."""
    names = {"SamewhereError"}
    trees = {path: ast.parse(path.read_text("utf-8")) for p in PACKAGES for path in (ROOT / p).rglob("*.py")}
    for _ in range(3):  # classes may derive from those that derive
        for tree in trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and names & {ast.unparse(base) for base in node.bases}:
                    names.add(node.name)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
                continue
            message = node.exc.args[0]
            if ast.unparse(node.exc.func) not in names or not isinstance(message, ast.Constant | ast.JoinedStr):
                continue
            values = message.values if isinstance(message, ast.JoinedStr) else [message]
            texts = [value.value for value in values if isinstance(value, ast.Constant)]
            yield f"{path.relative_to(ROOT)}:{node.lineno}", [text for text in texts if isinstance(text, str)]


def test_every_message_of_failure_stands_on_the_page() -> None:
    page = error_pages.OUT.read_text("utf-8")
    said = [plain(cell) for cell in cells_of(page.split(error_pages.BEGIN)[1], 0)]
    everything = "\n".join(said)
    found = 0
    for where, texts in raised():
        found += 1
        pieces = [" ".join(text.split()) for text in texts if re.search(r"[^\W\d_]{2}", text)]
        assert all(piece in everything for piece in pieces), f"{where}: run python -m tools.error_pages"
        pattern = re.compile(".*".join(map(re.escape, pieces)))
        assert any(pattern.search(line) for line in said), f"{where}: its parts stand in different rows"
    assert found > 450


def plain(cell: str) -> str:
    """What a cell shows: without the backslashes of Markdown."""
    return re.sub(r"\\([\\`*_{}\[\]#<>|])", r"\1", cell)


def test_a_message_is_read_with_all_its_ways_of_ending() -> None:
    source = """
A = "never"
def f(x):
    hint = f"Try {x.name}." if x else "Give up."
    raise QueryError(f"No {len(x)} of {A}: " + ("much" if x else f"little {hint}"))
"""
    tree = ast.parse(source)
    call = next(n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "QueryError")
    module = error_messages._Module("x.py", tree, {"A": tree.body[0].value})
    ways = error_messages.alternatives(call.args[0], module, tree.body[1])
    texts = ["".join(p if isinstance(p, str) else f"‹{p.name}›" for p in way) for way in ways]
    assert texts == [
        "No ‹number› of never: much",
        "No ‹number› of never: little Try ‹name›.",
        "No ‹number› of never: little Give up.",
    ]


def test_links_that_leave_docs_lead_to_pages_or_copies() -> None:
    text = "[a](../CHANGELOG.md) [b](../data/atlas/ATTRIBUTION.md#x) [c](../configs/blue-marble.yaml) [d](data.md)\n"
    text += "[e](https://example.org/../CHANGELOG.md) `[f](../CHANGELOG.md)` [g](../nothing.md)\n"
    text += "```\n[h](../CHANGELOG.md)\n```\n"
    assert docs_site.rewrite(text, "app.md") == (
        "[a](changelog.md) [b](atlas-sources.md#x) [c](files/configs/blue-marble.yaml) [d](data.md)\n"
        "[e](https://example.org/../CHANGELOG.md) `[f](../CHANGELOG.md)` [g](../nothing.md)\n"
        "```\n[h](../CHANGELOG.md)\n```\n"
    )
    assert docs_site.rewrite("[a](../../CHANGELOG.md)", "how-to/ray.md") == "[a](../changelog.md)"
    assert docs_site.rewrite("[a](docs/app.md)", "changelog.md") == "[a](app.md)"
    assert docs_site.outgoing("[a](../configs/blue-marble.yaml) [b](app.md)", "docs/data.md") == [
        "configs/blue-marble.yaml",
        "docs/app.md",
    ]


def test_a_notebook_becomes_a_page_with_its_pictures() -> None:
    notebook = {
        "cells": [
            {"cell_type": "markdown", "source": ["# Retrieval\n", "\n", "Text."]},
            {
                "cell_type": "code",
                "source": ["x = 1\n", "x"],
                "outputs": [
                    {"output_type": "stream", "text": ["hello\n"]},
                    {"output_type": "display_data", "data": {"image/png": "aGk=\n", "text/plain": ["<Figure>"]}},
                ],
            },
            {"cell_type": "code", "source": [], "outputs": []},
        ]
    }
    text, pictures = docs_site.notebook_page("01-retrieval", notebook)
    assert text == (
        "# Retrieval\n\nText.\n\n```python\nx = 1\nx\n```\n\n```text\nhello\n```\n\n"
        "![What this prints](01-retrieval-1.png)\n"
    )
    assert pictures == {"01-retrieval-1.png": b"hi"}
