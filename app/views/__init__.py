"""Pages of the app: each file lays one out and leaves the work to the modules of ``app``."""
