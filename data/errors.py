"""The errors users meet: one base class, one subclass for each kind of input.

Owns the words of failure. A message is a sentence that says what was wrong, where, what was seen and what to do; the
command line prints it without a traceback and exits 2, the app shows it in place. A programming mistake is never
dressed up as one of these.
"""


class SamewhereError(Exception):
    """Base of every error caused by input, files or the environment rather than by a bug."""


class CoordinateError(SamewhereError):
    """A longitude, latitude, bounding box or cell id that cannot be used."""


class PatchError(SamewhereError):
    """An image that cannot be read as a patch."""


class SkippedPatch(PatchError):  # noqa: N818  # no mistake: the patch is left out on purpose
    """A patch that a source leaves out, as one under 10 kB."""


class SourceError(SamewhereError):
    """A source of patches, or a dataset of them, that is missing, damaged, or cannot be reached."""


class CheckpointError(SamewhereError):
    """A checkpoint that is missing, damaged, or unknown."""


class IndexStoreError(SamewhereError):
    """An index directory that is missing, half written, damaged, or made by another checkpoint."""


class QueryError(SamewhereError):
    """A search that asks for something the index cannot answer."""


class TableError(SamewhereError):
    """A user's table that is missing, damaged, or from which nothing can be learned."""


class HeadError(SamewhereError):
    """A head that cannot be fitted, read, or used here."""


class MissingDependencyError(SamewhereError):
    """An optional package that is needed here is not installed."""
