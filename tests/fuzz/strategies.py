"""What strangers may write: JSON without shape, texts with all sorts in them, good documents with one thing changed."""

from __future__ import annotations

import copy
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = float(os.environ.get("SAMEWHERE_FUZZ", "1"))
"""Examples a property, in multiples of what the suite runs."""


def examples(count: int) -> settings:
    """Settings of a property that runs so many examples in the suite."""
    return settings(
        max_examples=max(1, int(count * TIMES)),
        deadline=None,
        derandomize=TIMES == 1,
        suppress_health_check=HealthCheck,
    )


numbers = st.one_of(
    st.integers(-(10**400), 10**400).filter(lambda n: abs(n) < 10**4 or abs(n) > 10**300),
    st.floats(),
    st.sampled_from(
        [0, -1, 1, 2**31, 2**63, 2**64, 1e308, float("nan"), float("inf"), -0.0, 90.0000001, 180, -180.5, 360]
    ),
)
texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["", "../../etc/passwd", "/etc/passwd", "\0", "a" * 5000, "é\u202e", "'; DROP TABLE cells; --", "nan", "1e999"]
    ),
    st.text("0123456789.,-+eE:;*° NSWEnaif/_", max_size=30),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A good document with one to three of its values replaced, dropped, or doubled."""
    out = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        place = out
        for _ in range(draw(st.integers(0, 4))):
            inner = [
                value
                for value in (place.values() if isinstance(place, dict) else place)
                if isinstance(value, dict | list)
            ]
            if not inner:
                break
            place = draw(st.sampled_from(inner))
        if isinstance(place, dict):
            key = draw(st.sampled_from(sorted(place))) if place and draw(st.booleans()) else draw(texts)
            if draw(st.integers(0, 4)) == 0:
                place.pop(key, None)
            else:
                place[key] = draw(anything)
        elif place and draw(st.booleans()):
            place[draw(st.integers(0, len(place) - 1))] = draw(anything)
        else:
            place.append(draw(anything))
    return out
