"""Batch jobs that embed cells and tiles, the snapshots they commit, and the search over them. Imports no torch."""

from indexer.build import build_index
from indexer.hits import Hit
from indexer.home import default_index_path
from indexer.query import Query
from indexer.search import SearchIndex
from indexer.where import Compare, Where

__all__ = ["Compare", "Hit", "Query", "SearchIndex", "Where", "build_index", "default_index_path"]
