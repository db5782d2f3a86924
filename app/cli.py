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
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
