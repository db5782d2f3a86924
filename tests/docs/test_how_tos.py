"""Every how-to page is executed, block by block, and says what really comes out; likewise the README's own commands."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.docs.pages import ROOT, blocks_of, missing_lines, run_block, surroundings
from tests.model.hub_server import Hub
from tests.model.official_files import official

PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
NOT_RUN = {
    "gpu.md": [
        "would replace the packages that this very page runs with",
        "needs a GPU and the 100,000 patches of S2-100K",
    ],
    "milvus.md": ["needs a Milvus cluster"],
    "ray.md": ["needs a Ray cluster of several machines"],
}
"""Every block that no test runs, with the reason that stands in its page."""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """A hub on loopback that has one file of the official layout, with random weights."""
    made, content = Hub(), io.BytesIO()
    torch.save(official("moco_resnet18", 10), content)
    made.content["microsoft/SatCLIP-ResNet18-L10/satclip-resnet18-l10.ckpt"] = content.getvalue()
    yield made
    made.close()


def test_every_block_that_is_left_out_is_known() -> None:
    left_out = {
        page.name: [block.reason for block in blocks_of(page.read_text("utf-8")) if block.reason] for page in PAGES
    }
    assert {name: reasons for name, reasons in left_out.items() if reasons} == NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page: Path, tmp_path: Path, hub: Hub) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "docs").symlink_to(ROOT / "docs")  # pages are read in the checkout
    environment = surroundings(tmp_path / "home", {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1"})
    blocks = [block for block in blocks_of(page.read_text("utf-8")) if block.reason is None]
    assert blocks
    for block in blocks:
        code, output = run_block(block, here, environment)
        assert code == 0, f"{page.name}, line {block.line} ended with {code}:\n{block.content}\n{output}"
        missing = missing_lines(block.shown or "", output)
        assert not missing, f"{page.name}, line {block.line} does not say {missing}, but:\n{output}"
