"""What several tests of training need."""

import pytest


@pytest.fixture
def in_float64(monkeypatch):
    """Trainings in double precision, so that equal means equal, not equal but for Adam's sign of a rounding error."""
    from model import train_satclip

    start = train_satclip.SatCLIPModule.__init__

    def build(module, *args, **kwargs):
        start(module, *args, **kwargs)
        module.double()

    monkeypatch.setattr(train_satclip.SatCLIPModule, "__init__", build)
