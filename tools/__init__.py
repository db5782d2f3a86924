"""Build-time tools that remake committed files from their sources; nothing here is needed to run Samewhere."""
