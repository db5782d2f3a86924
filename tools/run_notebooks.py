"""Execute the notebooks anew and write them back with their outputs, the same bytes for the same results.

    python -m tools.run_notebooks            # all of notebooks/, or those named

Each runs in a fresh kernel, an empty folder and a home of its own. What differs from run to run without meaning
anything is taken out: times, machine and kernel names. Pictures are brought down to 256 colours, half their size.
A notebook whose outputs name a folder of this machine is refused.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
LIMIT_S = 120
COLOURS = 256
PNG = "image/png"


def execute(path: Path) -> Any:
    """A notebook with the outputs of a run of its own: an ``nbformat`` node.

    Raises:
        CellExecutionError: a cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        places = {"SAMEWHERE_HOME": f"{folder}/home", "IPYTHONDIR": f"{folder}/ipython", "PYTHONPATH": str(ROOT)}
        places["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # whatever was set here: Streamlit sets Agg
        (work := Path(folder) / "work").mkdir()
        (work / "docs").symlink_to(ROOT / "docs")  # as for a reader in the checkout
        client = NotebookClient(
            notebook, timeout=LIMIT_S, kernel_name="python3", resources={"metadata": {"path": work}}
        )
        client.execute(env={**os.environ, **places})
        told = nbformat.writes(notebook)
        if folder in told or str(ROOT) in told:
            raise ValueError(f"{path.name} prints a folder of this machine. Have it print less.")
    return notebook


def tidy(notebook: Any) -> None:
    """Take out what differs from run to run, and make pictures small."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id, cell.metadata = f"cell-{number:02d}", {}
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if PNG in data:
                data[PNG] = base64.b64encode(_smaller(base64.b64decode(data[PNG]))).decode()
                data.pop("text/plain", None)  # says only how large the figure is


def _smaller(picture: bytes) -> bytes:
    made = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
    return made.getvalue()


def main(names: list[str]) -> None:
    """Execute and write."""
    import nbformat

    for path in [Path(name) for name in names] or sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = execute(path)
        tidy(notebook)
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
