"""Two processes do what one does on the joined batch: the same loss, gradients and weights."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from model import train_satclip
from model.run import RunOptions
from tests.model.folders import NETWORK, make_folder, tiny

ROOT = Path(__file__).parents[2]
RECIPE = tiny(
    network=replace(NETWORK, pe_type="mlp"),  # no dropout, which differs between processes
    epochs=1,
    chunk=3,
    block_share=0.0,
)

GRADIENTS = """
import sys, torch
from pathlib import Path
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from model.gather import gather
from model.loss import contrastive_loss

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.place = nn.Linear(6, 4), nn.Linear(2, 4)
        self.scale = nn.Parameter(torch.tensor(2.0))
    def forward(self, x, y):
        return contrastive_loss(gather(self.image(x)), gather(self.place(y)), self.scale)

torch.manual_seed(0)
pair = Pair().double()
x, y = torch.randn(10, 6, dtype=torch.float64), torch.randn(10, 2, dtype=torch.float64)
alone = pair(x, y)
alone.backward()
expected = torch.cat([p.grad.flatten() for p in pair.parameters()])
pair.zero_grad()
distributed.init_process_group("gloo")
rank = distributed.get_rank()
wrapped = DistributedDataParallel(pair)
loss = wrapped(x[5 * rank : 5 * rank + 5], y[5 * rank : 5 * rank + 5])
loss.backward()
found = torch.cat([p.grad.flatten() for p in pair.parameters()])
difference = max(abs(loss.item() - alone.item()), (found - expected).abs().max().item())
Path(sys.argv[1], f"{rank}.txt").write_text(str(difference))
distributed.barrier()  # neither takes its threads down while the other still speaks to them
del wrapped, loss  # the reducer goes before the group that it uses
distributed.destroy_process_group()
"""

TRAINING = """
import sys
from pathlib import Path
from model import train_satclip
from model.run import RunOptions
from tests.model.test_distributed import RECIPE

start = train_satclip.SatCLIPModule.__init__

def in_float64(module, *args, **kwargs):
    start(module, *args, **kwargs)
    module.double()

train_satclip.SatCLIPModule.__init__ = in_float64
options = RunOptions(accelerator="cpu", precision="fp32")  # torchrun says how many processes there are
train_satclip.train_satclip(RECIPE, Path(sys.argv[1]), Path(sys.argv[2]), options=options)
"""


def launch(code, folder, *args):
    """Run a script in two processes."""
    script = folder / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, *args],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_gathered_negatives_give_the_gradient_of_the_joined_batch(tmp_path):
    launch(GRADIENTS, tmp_path, tmp_path)
    differences = [float((tmp_path / f"{rank}.txt").read_text()) for rank in (0, 1)]
    assert max(differences) < 1e-12


def test_a_run_of_two_processes_ends_like_one(tmp_path, in_float64):
    data, one, two = make_folder(tmp_path / "data"), tmp_path / "one", tmp_path / "two"
    launch(TRAINING, tmp_path, data, two)
    train_satclip.train_satclip(RECIPE, data, one, options=RunOptions(accelerator="cpu", precision="fp32"))
    weights = [torch.load(out / "tiny.ckpt", weights_only=True)["state_dict"] for out in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    assert max((weights[0][key] - weights[1][key]).abs().max().item() for key in weights[0]) < 1e-6
    losses = [pd.read_csv(out / "metrics.csv")["loss_pair"].iloc[0] for out in (one, two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
