"""The Streamlit pages and the ``samewhere`` command line."""
