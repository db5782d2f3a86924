"""``samewhere app``: start the page, wherever Samewhere is installed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import typer

EPILOG = "Example: samewhere app --port 8600 --no-browser"
MAIN = Path(__file__).parents[1] / "main.py"
SETTINGS = MAIN.parent / ".streamlit" / "config.toml"


def page(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine's.")] = "localhost",
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Name by which others ask for this machine, as maps.example.org; may be repeated."
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Start the app, as `streamlit run app/main.py` does in a checkout. Ctrl-C ends it.

    Other machines get in with both --host 0.0.0.0 and --allow; the app has no log-in.
    """
    from streamlit.web.cli import main

    options = [f"--server.port={port}", f"--server.address={host}", f"--server.headless={str(not browser).lower()}"]
    if allow:  # replaces the names of the settings, so they are said again
        own = tomllib.loads(SETTINGS.read_text("utf-8"))["server"]["allowedHosts"]
        options += [f"--server.allowedHosts={name}" for name in (*own, *allow)]
    main(args=["run", str(MAIN), *options], prog_name="streamlit", standalone_mode=False)
