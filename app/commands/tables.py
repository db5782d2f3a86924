"""Tables in the terminal: as wide as it is there, as wide as they need to be in a file or a pipe."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def print_table(table: Table) -> None:
    """Print a table on standard output.

    A terminal's width is kept to, and so is one that ``COLUMNS`` names. Where the output goes to a file or another
    program there is no width, and a cut id would be a wrong one: there every column is whole.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        needed = console.measure(table, options=console.options.update(max_width=10_000)).maximum
        console = Console(width=max(console.width, needed))
    console.print(table)
