"""The command line: ``samewhere``.

Owns the registration of sub-commands and what becomes of errors: one line on standard error, no traceback, exit 2. The
commands themselves live in ``app/commands``, one module each, and import what is heavy only when they run, so that
``--help`` answers at once.
"""

from __future__ import annotations

import sys

import typer

from app.commands import (
    data_pull,
    data_stac,
    dataset,
    doctor,
    downstream,
    evaluate,
    fit,
    index,
    models,
    page,
    predict,
    search,
    train,
)
from data.errors import SamewhereError

NO_MEMORY = (
    "There is not enough memory ({}). Close other programs, or ask for less at a time (fewer --workers, a smaller "
    "chunk or batch). What was finished is kept; the same command goes on."
)

app = typer.Typer(
    name="samewhere",
    help="Find the places on Earth that look like this one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# ---- one line for each command; a module with several sub-commands exposes a typer app, one with one a function ----
app.add_typer(index.app, name="index")
app.command(name="search", epilog=search.EPILOG)(search.search)
app.command(name="train", epilog=train.EPILOG)(train.train)
app.command(name="predict", epilog=predict.EPILOG)(predict.predict)
app.command(name="fit", epilog=fit.EPILOG)(fit.fit)
evaluate.app.command(name="downstream", epilog=downstream.EPILOG)(downstream.downstream)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(models.app, name="models")
dataset.app.command(name="pull", epilog=data_pull.EPILOG)(data_pull.pull)
dataset.app.command(name="stac", epilog=data_stac.EPILOG)(data_stac.stac)
app.add_typer(dataset.app, name="data")
app.command(name="doctor", epilog=doctor.EPILOG)(doctor.doctor)
app.command(name="app", epilog=page.EPILOG)(page.page)


def main() -> None:
    """Run the command line and leave with 0 (done), 1 (ran, with failures listed), 2 (wrong input) or 130 (Ctrl-C)."""
    try:
        app(prog_name="samewhere")
    except SamewhereError as error:
        print(f"samewhere: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        print(f"samewhere: {NO_MEMORY.format(' '.join(str(error).split())[:200])}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether there was no memory: Python, NumPy and Arrow have an error of their own for it, torch has words."""
    text = str(error)
    return isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text


if __name__ == "__main__":
    main()
