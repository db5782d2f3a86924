"""Official-format SatCLIP checkpoints made by hand: names, shapes and precisions of the public ones, random weights.

Nothing of the product is used here, so that what it loads was not written by itself.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from scipy.special import sph_harm_y

HYPER = {
    "embed_dim": 256,
    "image_resolution": 256,
    "vision_layers": "moco_resnet18",
    "vision_width": 768,
    "vision_patch_size": 32,
    "in_channels": 13,
    "le_type": "sphericalharmonics",
    "pe_type": "siren",
    "frequency_num": 16,
    "max_radius": 260,
    "min_radius": 1,
    "legendre_polys": 10,
    "harmonics_calculation": "analytic",
    "sh_embedding_dims": 32,
    "learning_rate": 1e-4,
    "weight_decay": 0.01,
    "num_hidden_layers": 2,
    "capacity": 512,
    "eval_downstream": False,
    "air_temp_data_path": "/data/air_temp",
    "election_data_path": "/data/election",
}


def batch_norm(name, width):
    return {
        f"{name}.weight": (width,),
        f"{name}.bias": (width,),
        f"{name}.running_mean": (width,),
        f"{name}.running_var": (width,),
        f"{name}.num_batches_tracked": (),
    }


def resnet_shapes(blocks, *, bottleneck):
    """timm's resnet18 or resnet50 with 13 channels in and 256 numbers out."""
    shapes = {"conv1.weight": (64, 13, 7, 7), **batch_norm("bn1", 64)}
    inputs = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        outputs = width * (4 if bottleneck else 1)
        for block in range(count):
            at = f"layer{stage + 1}.{block}"
            if bottleneck:
                kernels = [(width, inputs, 1, 1), (width, width, 3, 3), (outputs, width, 1, 1)]
            else:
                kernels = [(width, inputs, 3, 3), (width, width, 3, 3)]
            for number, kernel in enumerate(kernels, start=1):
                shapes[f"{at}.conv{number}.weight"] = kernel
                shapes |= batch_norm(f"{at}.bn{number}", kernel[0])
            if block == 0 and (stage > 0 or inputs != outputs):
                shapes[f"{at}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                shapes |= batch_norm(f"{at}.downsample.1", outputs)
            inputs = outputs
    return {**shapes, "fc.weight": (256, inputs), "fc.bias": (256,)}


def vit_shapes():
    """timm's vit_small_patch16_224 with 13 channels in and 256 numbers out."""

    def linear(name, outputs, inputs):
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    def norm(name):
        return {f"{name}.weight": (384,), f"{name}.bias": (384,)}

    shapes = {"cls_token": (1, 1, 384), "pos_embed": (1, 197, 384)}
    shapes |= {"patch_embed.proj.weight": (384, 13, 16, 16), "patch_embed.proj.bias": (384,)}
    for block in range(12):
        at = f"blocks.{block}"
        shapes |= norm(f"{at}.norm1") | linear(f"{at}.attn.qkv", 1152, 384) | linear(f"{at}.attn.proj", 384, 384)
        shapes |= norm(f"{at}.norm2") | linear(f"{at}.mlp.fc1", 1536, 384) | linear(f"{at}.mlp.fc2", 384, 1536)
    return shapes | norm("norm") | linear("head", 256, 384)


SHAPES = {
    "moco_resnet18": resnet_shapes((2, 2, 2, 2), bottleneck=False),
    "moco_resnet50": resnet_shapes((3, 4, 6, 3), bottleneck=True),
    "moco_vit16": vit_shapes(),
}


def official(trunk="moco_resnet18", degrees=10, *, seed=0, **hyper):
    """The content of a checkpoint as Lightning keeps it."""
    generator = torch.Generator().manual_seed(seed)
    fields = HYPER | {"vision_layers": trunk, "legendre_polys": degrees} | hyper
    state = {"model.logit_scale": torch.tensor(math.log(1 / 0.07))}
    for name, shape in SHAPES[trunk].items():
        if name.endswith("num_batches_tracked"):
            value = torch.tensor(7)
        elif name.endswith("running_var"):
            value = torch.ones(shape)
        else:
            centre = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
            value = centre + torch.randn(shape, generator=generator) * 0.03
        state[f"model.visual.{name}"] = value
    widths = [degrees**2, *[fields["capacity"]] * fields["num_hidden_layers"], fields["embed_dim"]]
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        name = "last_layer" if index == fields["num_hidden_layers"] else f"layers.{index}"
        bound = 1 / inputs if index == 0 else math.sqrt(6 / inputs)
        for kind, shape in (("weight", (outputs, inputs)), ("bias", (outputs,))):
            drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
            tensor = (2 * drawn - 1) * bound
            state[f"model.nnet.{name}.{kind}"] = state[f"model.location.nnet.{name}.{kind}"] = tensor
    return {
        "epoch": 499,
        "global_step": 4880,
        "pytorch-lightning_version": "2.0.6",
        "state_dict": state,
        "loops": {},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": fields,
    }


def location_oracle(content, lonlat):
    """The location embedding by the formulas of the design, §4, with SciPy's harmonics: (N, D) float64."""
    fields, state = content["hyper_parameters"], content["state_dict"]
    phi, theta = np.radians(lonlat[:, 0] + 180), np.radians(lonlat[:, 1] + 90)
    columns = []
    for l in range(fields["legendre_polys"]):
        y = [sph_harm_y(l, m, theta, phi) * (-1) ** m for m in range(l + 1)]  # SciPy has the Condon–Shortley sign
        columns += [math.sqrt(2) * y[-m].imag for m in range(-l, 0)]
        columns += [np.pi * y[0].real, *(math.sqrt(2) * y[m].real for m in range(1, l + 1))]
    x = np.stack(columns, axis=1)
    for index in range(fields["num_hidden_layers"]):
        weight, bias = (state[f"model.nnet.layers.{index}.{kind}"].numpy() for kind in ("weight", "bias"))
        x = np.sin((30.0 if index == 0 else 1.0) * (x @ weight.T + bias))
    weight, bias = (state[f"model.nnet.last_layer.{kind}"].numpy() for kind in ("weight", "bias"))
    return x @ weight.T + bias
