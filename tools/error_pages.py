"""Writes all messages into ``docs/troubleshooting.md``, between its marks: ``python -m tools.error_pages``.

``tools/error_messages.py`` reads the messages from the code; here they are put in order and made Markdown. Every module
with a message must belong to a part below, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass

from tools.error_messages import PLAIN, ROOT, Message, collect

OUT = ROOT / "docs" / "troubleshooting.md"
BEGIN, END = "<!-- messages: begin -->", "<!-- messages: end -->"


@dataclass(frozen=True)
class Part:
    """Messages that people meet in one place.

    Attributes:
        area: heading above it.
        title: its own heading.
        met: where they are met.
        modules: patterns of paths, the first part that matches takes a module.
    """

    area: str
    title: str
    met: str
    modules: tuple[str, ...]


PARTS = (
    Part(
        "Data",
        "Coordinates, boxes and cells",
        "every command and page that takes a place",
        ("data/geo.py", "data/outline.py", "data/gazetteer.py", "data/atlas.py"),
    ),
    Part(
        "Data",
        "Reading a patch",
        "`samewhere search --image`, an upload, `read_patch`, every source",
        ("data/npy.py", "data/patch.py", "data/radiometry.py", "data/sentinel.py", "data/blue_marble.py"),
    ),
    Part("Data", "Sources of patches", "`samewhere data add`, `open_source`", ("data/sources/*",)),
    Part("Data", "STAC catalogues", "`samewhere data stac`", ("data/stac*.py",)),
    Part(
        "Data",
        "Datasets",
        "`samewhere data`, `samewhere index build --source`",
        ("data/catalogue.py", "data/ingest.py", "data/rows.py", "app/commands/data_pull.py", "app/dataset_map.py"),
    ),
    Part(
        "Data",
        "Folders to train on, splits and draws",
        "`samewhere train --data`, `samewhere evaluate retrieval --sentinel`, `data.sampling`, `data.patch_splits`",
        (
            "data/dataset_patches.py",
            "data/patch_folder.py",
            "data/patch_splits.py",
            "data/sampling.py",
            "model/folder_data.py",
        ),
    ),
    Part(
        "Models",
        "Checkpoints",
        "`samewhere models`, `--checkpoint`, `load`",
        (
            "model/checkpoint.py",
            "model/hub.py",
            "model/official.py",
            "model/satclip.py",
            "model/pair.py",
            "app/commands/models.py",
            "app/model_list.py",
        ),
    ),
    Part(
        "Models",
        "Encoders and their configuration",
        "`load`, `encode_location`, `encode_image`",
        (
            "model/encoder.py",
            "model/chunks.py",
            "model/harmonics.py",
            "model/networks.py",
            "model/position.py",
            "model/vision/*",
        ),
    ),
    Part(
        "Models",
        "Training",
        "`samewhere train`",
        (
            "app/commands/train.py",
            "model/config_files.py",
            "model/recipes.py",
            "model/run.py",
            "model/train.py",
            "model/trunks.py",
        ),
    ),
    Part(
        "Models", "Baselines", "`load_baseline`, `samewhere evaluate --baseline`, `--encoder`", ("model/baselines/*",)
    ),
    Part(
        "Index",
        "Building and changing an index",
        "`samewhere index build`, `add`, `resume`, `rm`, `compact`, `gc`, and the first start of the app",
        (
            "indexer/build.py",
            "indexer/files.py",
            "indexer/job.py",
            "indexer/engines.py",
            "indexer/manage.py",
            "indexer/sources.py",
            "indexer/ann_build.py",
            "app/commands/index*.py",
        ),
    ),
    Part(
        "Index",
        "Opening and verifying an index",
        "`samewhere index status`, `verify`, `search`, `SearchIndex.open`",
        ("indexer/snapshot.py", "indexer/local.py", "indexer/vectors.py", "indexer/ann.py", "indexer/verify.py"),
    ),
    Part(
        "Index",
        "Searching",
        "`samewhere search`, `SearchIndex.search`, `field`, the page Search",
        (
            "indexer/search.py",
            "indexer/ask.py",
            "indexer/query.py",
            "indexer/where.py",
            "indexer/select.py",
            "indexer/zones.py",
            "app/commands/search.py",
        ),
    ),
    Part(
        "Index",
        "Queries in JSON",
        "`samewhere search --query`, `Query.from_json`",
        ("indexer/query_json.py", "app/request.py"),
    ),
    Part(
        "Index",
        "Export, and embeddings of other models",
        "`samewhere index export`, `import`",
        ("indexer/export.py", "indexer/gallery*.py"),
    ),
    Part(
        "Index",
        "Object stores",
        "`samewhere index push`, `--index URL`",
        ("indexer/object_store.py", "indexer/remote.py"),
    ),
    Part("Index", "Milvus", "`samewhere index push milvus://…`, `--index milvus://…`", ("indexer/milvus*.py",)),
    Part(
        "App",
        "Pages and links",
        "the pages Search, Compare, Predict, Explore, Models & data",
        (
            "app/answer.py",
            "app/comparison.py",
            "app/ingredients.py",
            "app/mapped.py",
            "app/regions.py",
            "app/resources.py",
            "app/url_state.py",
            "app/views/*",
        ),
    ),
    Part("App", "Jobs", "the page Jobs", ("app/jobs.py",)),
    Part(
        "Downstream",
        "Tables of places",
        "`samewhere fit`, `samewhere predict --points`, *Fit your own*",
        ("data/table.py",),
    ),
    Part(
        "Downstream",
        "Fitting and predicting",
        "`samewhere fit`, `samewhere predict`, the page Predict",
        (
            "app/commands/predict.py",
            "app/predictions.py",
            "data/tasks.py",
            "model/fit.py",
            "model/head_file.py",
            "model/heads.py",
            "model/knn.py",
            "model/nearest.py",
            "model/predict.py",
            "model/ridge.py",
            "model/validate.py",
        ),
    ),
    Part(
        "Downstream",
        "Evaluation",
        "`samewhere evaluate`",
        (
            "app/commands/downstream.py",
            "app/downstream_tables.py",
            "data/paper_sets.py",
            "model/evaluate.py",
            "model/folds.py",
            "model/published.py",
            "model/score_log.py",
        ),
    ),
    Part("Other", "Other messages", "other commands", ("app/*", "data/*", "indexer/*", "model/*")),
)


def table() -> str:
    """All messages as Markdown, area by area."""
    found: dict[Part, list[Message]] = {part: [] for part in PARTS}
    for message in collect():
        part = next(p for p in PARTS if any(fnmatch.fnmatch(message.module, pattern) for pattern in p.modules))
        found[part].append(message)
    lines: list[str] = []
    area = ""
    for part, messages in found.items():
        if not messages:
            continue
        if part.area != area:
            lines += [f"### {part.area}", ""]
            area = part.area
        lines += [f"#### {part.title}", "", f"Met by {part.met}.", "", "| message | arises in |", "|---|---|"]
        lines += [f"| {said} | {places} |" for said, places in _rows(messages)]
        lines.append("")
    return "\n".join(lines)


def put(page: str) -> str:
    """A page with the table of today between its marks.

    Raises:
        ValueError: the page has not each mark once.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"{OUT.name} should hold {BEGIN} and {END}, each once.")
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Write the page."""
    OUT.write_text(put(OUT.read_text("utf-8")), encoding="utf-8")


def markdown(text: str) -> str:
    """A sentence as Markdown that reads as it is said: only its `code` stays code."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    plain = [part if i % 2 else re.sub(r"([\\`*_{}\[\]#<>])", r"\\\1", part) for i, part in enumerate(parts)]
    return "".join(plain).replace("|", "\\|")


def _rows(messages: list[Message]) -> list[tuple[str, str]]:
    """The cells of the rows; what several functions say is one row."""
    said: dict[str, list[str]] = {}
    for message in messages:
        place = f"`{message.module}`, `{message.function}`"
        kind = {"": "a finding", "page": "the page itself"}.get(message.kind, f"`{message.kind}`")
        if message.kind in PLAIN and message.kind != "BadParameter":
            kind += ", mostly as the reason inside another message"
        said.setdefault(markdown(message.text), []).append(f"{place} ({kind})")
    return [(text, "; ".join(dict.fromkeys(places))) for text, places in said.items()]


if __name__ == "__main__":
    main()
