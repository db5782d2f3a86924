"""The tables of ``samewhere evaluate downstream`` for people and programs: Markdown, CSV, JSON and a picture.

Owns how results look; measures nothing. One table for each split and figure, encoders down the page and tasks across,
the best of each task in bold, published figures below the measured ones.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.errors import HeadError
from data.files import durable
from model.downstream import WHOLE, Problem
from model.folds import TITLES, Split
from model.published import MAIN, OTHER, Published
from model.tables import Row, Verdict, verdicts

FIGURES = {"main": "R², or accuracy of classes", "other": "standardised MSE, or macro-F1 of classes"}
NONE = "–"


def as_markdown(
    rows: Sequence[Row], problems: Sequence[Problem], *, own: Collection[str], published: Sequence[Published] = ()
) -> str:
    """All tables, then the count of tasks on which the pair is better than every baseline."""
    heads = list(dict.fromkeys(row.head for row in rows))
    parts = []
    for split in dict.fromkeys(row.split for row in rows):
        for figure, words in FIGURES.items():
            seeds = max(row.seeds for row in rows if row.split == split)
            over = f", mean ± sd over {seeds} seeds" if seeds > 1 else ""
            parts.append(f"**{TITLES[split]}: {words}{over}**")
            parts.append(_table([r for r in rows if r.split == split], problems, figure, len(heads) > 1, published))
    judged = verdicts(rows, own=own)
    if judged:
        parts += ["**Better than every baseline**", _judgement(judged, problems)]
    return "\n\n".join(parts)


def as_csv(rows: Sequence[Row]) -> str:
    """One line for each row, of continents too."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row.__dataclass_fields__)
    for row in rows:
        writer.writerow(["" if value is None else value for value in _finite(asdict(row)).values()])
    return text.getvalue()


def as_json(rows: Sequence[Row], about: Mapping[str, Any], *, own: Collection[str]) -> dict[str, Any]:
    """Everything: how it was measured, the rows, the verdicts. What is not there is null."""
    judged = [{**asdict(verdict), "better": verdict.better} for verdict in verdicts(rows, own=own)]
    return {"about": dict(about), "rows": [_finite(asdict(row)) for row in rows], "verdicts": judged}


def put_between(path: Path, name: str, text: str) -> None:
    """Replace what stands in a file between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``.

    Raises:
        HeadError: the file or its marks are missing.
    """
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise HeadError(f"{path} cannot be read: {error.strerror}.") from error
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise HeadError(f"{path} should hold {begin} and, after it, {end}, each once.")
    before, after = page[: page.index(begin) + len(begin)], page[page.index(end) :]
    with durable(path) as file:
        file.write(f"{before}\n\n{text}\n\n{after}".encode())


def draw(rows: Sequence[Row], problems: Sequence[Problem], path: Path, *, own: Collection[str]) -> None:
    """A picture: one panel for each split, one column for each task, one mark for each encoder and head."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    whole = [row for row in rows if row.part == WHOLE and math.isfinite(row.main)]
    splits = list(dict.fromkeys(row.split for row in whole))
    series = list(dict.fromkeys((row.encoder, row.head) for row in whole))
    tasks = {problem.name: number for number, problem in enumerate(problems)}
    several = len({head for _, head in series}) > 1
    mine_first = [name for name in dict.fromkeys(encoder for encoder, _ in series) if name in own]
    others = [name for name in dict.fromkeys(encoder for encoder, _ in series) if name not in own]
    figure, axes = plt.subplots(
        len(splits),
        1,
        figsize=(max(8.0, 1.5 * len(tasks) + 4), 2.8 * len(splits) + 0.8),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    palette = plt.get_cmap("tab20")
    for axis, split in zip(axes[:, 0], splits, strict=True):
        for number, (encoder, head) in enumerate(series):
            mine = [r for r in whole if (r.split, r.encoder, r.head) == (split, encoder, head)]
            shift = 0.8 * ((number + 0.5) / len(series) - 0.5)
            strong = encoder in own
            axis.errorbar(
                [tasks[row.task] + shift for row in mine],
                [max(row.main, LOWEST) for row in mine],
                yerr=[row.main_sd if row.main > LOWEST and math.isfinite(row.main_sd) else 0.0 for row in mine],
                fmt=MARKS.get(head, "D"),
                color=OWN[mine_first.index(encoder) % len(OWN)] if strong else palette(others.index(encoder) % 20),
                markersize=8 if strong else 5,
                zorder=3 if strong else 2,
                label=f"{encoder}, {head}" if several else encoder,
            )
        axis.axhline(0, color="0.6", linewidth=0.8)
        lowest = min((row.main for row in whole if row.split == split), default=0.0)
        axis.set_ylim(max(lowest, LOWEST) - 0.05, 1.05)
        axis.set_title(TITLES[split] + (f" (below {LOWEST:g}: drawn there)" if lowest < LOWEST else ""), fontsize=10)
        axis.set_ylabel("R² / accuracy")
        for edge in range(1, len(tasks)):
            axis.axvline(edge - 0.5, color="0.85", linewidth=0.8)
    axes[-1, 0].set_xticks(range(len(tasks)), [problem.title for problem in problems], rotation=15, ha="right")
    axes[-1, 0].set_xlim(-0.5, len(tasks) - 0.5)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    with durable(path) as file:
        figure.savefig(file, format="png", dpi=110)
    plt.close(figure)


OWN = ("crimson", "black", "darkorange")
MARKS = {"ridge": "o", "knn": "s", "mlp": "^"}
LOWEST = -0.5


def _table(
    rows: Sequence[Row], problems: Sequence[Problem], figure: str, several: bool, published: Sequence[Published]
) -> str:
    """One table of one split and figure."""
    split: Split = rows[0].split
    shown = [problem for problem in problems if split in problem.splits]
    cells = {(r.encoder, r.head, r.task): r for r in rows if r.part == WHOLE}
    best = {}
    for problem in shown:
        smaller = figure == "other" and problem.kind == "regression"
        values = [getattr(r, figure) for (_, _, task), r in cells.items() if task == problem.name]
        finite = [value for value in values if math.isfinite(value)]
        best[problem.name] = (min if smaller else max)(finite) if finite else None
    lines = ["| | " + " | ".join(p.title for p in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for encoder, head in dict.fromkeys((r.encoder, r.head) for r in rows):
        line = [f"{encoder}, {head}" if several else encoder]
        for problem in shown:
            row = cells.get((encoder, head, problem.name))
            mean = getattr(row, figure) if row else float("nan")
            text = _cell(mean, getattr(row, f"{figure}_sd") if row else float("nan"))
            line.append(f"**{text}**" if row and mean == best[problem.name] else text)
        lines.append("| " + " | ".join(line) + " |")
    wanted = MAIN if figure == "main" else OTHER
    for name in dict.fromkeys((p.encoder, p.source) for p in published if p.split == split and p.metric in wanted):
        given = {
            p.task: p for p in published if (p.encoder, p.source) == name and p.split == split and p.metric in wanted
        }
        texts = [_cell(given[p.name].mean, given[p.name].sd) if p.name in given else NONE for p in shown]
        lines.append(f"| *{name[0]}, published ({name[1]})* | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def _judgement(judged: Sequence[Verdict], problems: Sequence[Problem]) -> str:
    titles = {problem.name: problem.title for problem in problems}
    lines = ["| | tasks | where not |", "|---|---|---|"]
    for split in dict.fromkeys(verdict.split for verdict in judged):
        mine = [verdict for verdict in judged if verdict.split == split]
        lost = [f"{titles[v.task]} ({v.own:.3f}; {v.best_name} {v.best:.3f})" for v in mine if not v.better]
        lines.append(f"| {TITLES[split]} | {sum(v.better for v in mine)} of {len(mine)} | {'; '.join(lost) or NONE} |")
    return "\n".join(lines)


def _cell(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return NONE
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    """NaN, which JSON has not, as None."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields.items()}
