"""The image encoders against the ``transformers`` package and, for CLIP's ResNet, against its layers written out.

Every oracle test draws all parameters and all running statistics anew, so that a statistic, a bias or an epsilon that
is not used, or used in the wrong place, shows. Tolerances are absolute; the outputs are of the order of one.
"""

import math
import re

import pytest
import torch
from torch.nn import functional

from data.errors import CheckpointError, PatchError
from model.vision import build_vision, head_names
from model.vision.resnet import Bottleneck

CLIP_VIT = {"width": 128, "patch_size": 32, "image_resolution": 256}
SMALL_RESNET = (2, 1, 2, 1)


def build(layers, *, width=64, patch_size=16, image_resolution=224, in_channels=13, embed_dim=256):
    return build_vision(
        layers,
        width=width,
        patch_size=patch_size,
        image_resolution=image_resolution,
        in_channels=in_channels,
        embed_dim=embed_dim,
    )


def randomised(layers, dtype=torch.float64, **options):
    """A network in evaluation mode, none of whose weights or statistics has a value that could hide a mistake."""
    with torch.device("meta"):
        net = build(layers, **options)
    net = net.to_empty(device="cpu").to(dtype).eval()
    rng = torch.Generator().manual_seed(0)
    for name, tensor in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=rng)
        elif "embed" in name and "proj" not in name:
            tensor.normal_(generator=rng)
        elif tensor.ndim == 1 and name.endswith("weight"):
            tensor.uniform_(0.3, 1.2, generator=rng)
        elif tensor.ndim == 1:
            tensor.normal_(0, 0.1, generator=rng)
        else:
            fan_in = len(tensor) if name == "proj" else tensor[0].numel()
            tensor.normal_(0, math.sqrt(2 / fan_in), generator=rng)  # large enough that attention is not even
    return net


def images(side, dtype=torch.float64, channels=13):
    """Two images of large shapes and fine noise, drawn at random."""
    rng = torch.Generator().manual_seed(1)
    shapes = functional.interpolate(torch.randn(2, channels, 5, 5, generator=rng), size=(side, side), mode="bilinear")
    return (shapes + 0.5 * torch.randn(2, channels, side, side, generator=rng)).to(dtype)


def assert_equal_to(net, oracle, x):
    """The largest difference over a batch stays below 1e-5 in float32 and at rounding in float64."""
    with torch.no_grad():
        seen, wanted = net(x), oracle(x)
    assert seen.shape == wanted.shape == (len(x), 256)
    assert 0.1 < wanted.abs().max() < 20 and (wanted[0] - wanted[1]).abs().max() > 0.1  # the images are seen
    assert (seen - wanted).abs().max() < (1e-5 if x.dtype == torch.float32 else 1e-11)


def renamed(state, rules):
    """Keys rewritten by the first of the (pattern, replacement) rules that matches from the start; each must match."""
    result = {}
    for key, value in state.items():
        pattern, replacement = next(rule for rule in rules if re.match(rule[0], key))
        result[re.sub("^" + pattern, replacement, key, count=1)] = value
    return result


def resnet_state(net):
    """The state of our ResNet under the names of Hugging Face's."""
    stage = r"layer(\d)\.(\d+)\."

    def block(m):
        return f"resnet.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}."

    def layer(m):
        return f"{block(m)}layer.{int(m[3]) - 1}."

    rules = [
        (r"conv1\.", "resnet.embedder.embedder.convolution."),
        (r"bn1\.", "resnet.embedder.embedder.normalization."),
        (stage + r"conv(\d)\.", lambda m: layer(m) + "convolution."),
        (stage + r"bn(\d)\.", lambda m: layer(m) + "normalization."),
        (stage + r"downsample\.0\.", lambda m: block(m) + "shortcut.convolution."),
        (stage + r"downsample\.1\.", lambda m: block(m) + "shortcut.normalization."),
        (r"fc\.", "classifier.1."),
    ]
    return renamed(net.state_dict(), rules)


def resnet_oracle(net, *, kind, depths):
    """The Hugging Face ResNet with the weights of ours."""
    from transformers import ResNetConfig, ResNetForImageClassification

    expansion = 4 if kind == "bottleneck" else 1
    config = ResNetConfig(
        num_channels=13,
        embedding_size=64,
        hidden_sizes=[64 * 2**i * expansion for i in range(4)],
        depths=list(depths),
        layer_type=kind,
        num_labels=256,
    )
    with torch.device("meta"):
        oracle = ResNetForImageClassification(config)
    oracle.load_state_dict({key: value.clone() for key, value in resnet_state(net).items()}, assign=True)
    return oracle.train(net.training)


RESNETS = [
    ("moco_resnet18", "basic", (2, 2, 2, 2)),
    ("moco_resnet50", "bottleneck", (3, 4, 6, 3)),
]


@pytest.mark.parametrize(("side", "dtype"), [(224, torch.float64), (256, torch.float32)])
@pytest.mark.parametrize(("layers", "kind", "depths"), RESNETS)
def test_resnet_is_the_reference(layers, kind, depths, side, dtype):
    net = randomised(layers, dtype)
    oracle = resnet_oracle(net, kind=kind, depths=depths)
    assert_equal_to(net, lambda x: oracle(x).logits, images(side, dtype))


@pytest.mark.parametrize(("layers", "kind", "depths"), RESNETS)
def test_resnet_trains_as_the_reference(layers, kind, depths):
    """One step's outputs, running statistics and gradients, with the statistics of the batch."""
    net = randomised(layers).train()
    oracle = resnet_oracle(net, kind=kind, depths=depths)
    x = images(64)
    seen, wanted = net(x), oracle(x).logits
    torch.testing.assert_close(seen, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(resnet_state(net), dict(oracle.state_dict()), rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(seen.square().sum(), net.conv1.weight)
    (reference,) = torch.autograd.grad(wanted.square().sum(), oracle.resnet.embedder.embedder.convolution.weight)
    torch.testing.assert_close(gradient, reference, rtol=1e-7, atol=1e-7 * float(reference.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_vit_is_the_reference(dtype):
    from transformers import ViTConfig, ViTForImageClassification

    net = randomised("moco_vit16", dtype)
    config = ViTConfig(
        num_channels=13,
        image_size=224,
        patch_size=16,
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        intermediate_size=1536,
        hidden_act="gelu",
        layer_norm_eps=1e-6,
        num_labels=256,
    )
    state = {}
    for key, value in net.state_dict().items():
        if ".qkv." in key:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                state[key.replace(".qkv.", f".{letter}_proj.")] = part
        else:
            state[key] = value
    block = r"blocks\.(\d+)\."
    rules = [
        ("cls_token", "vit.embeddings.cls_token"),
        ("pos_embed", "vit.embeddings.position_embeddings"),
        (r"patch_embed\.proj\.", "vit.embeddings.patch_embeddings.projection."),
        (block + r"norm1\.", r"vit.layers.\1.layernorm_before."),
        (block + r"norm2\.", r"vit.layers.\1.layernorm_after."),
        (block + r"attn\.proj\.", r"vit.layers.\1.attention.o_proj."),
        (block + r"attn\.", r"vit.layers.\1.attention."),
        (block + r"mlp\.", r"vit.layers.\1.mlp."),
        (r"norm\.", "vit.layernorm."),
        (r"head\.", "classifier."),
    ]
    with torch.device("meta"):
        oracle = ViTForImageClassification(config).eval()
    oracle.load_state_dict(renamed(state, rules), assign=True)
    assert_equal_to(net, lambda x: oracle(x).logits, images(224, dtype))


@pytest.mark.parametrize(
    ("depth", "width", "patch", "side", "dtype"),
    [
        (4, 128, 32, 256, torch.float64),  # the original's default configuration
        (4, 128, 32, 256, torch.float32),
        (3, 192, 16, 224, torch.float64),
        (2, 64, 15, 224, torch.float64),  # 224 = 14 · 15 + 14: what is left over is not seen
    ],
)
def test_clip_vit_is_the_reference(depth, width, patch, side, dtype):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    net = randomised(depth, dtype, width=width, patch_size=patch, image_resolution=side)
    config = CLIPVisionConfig(
        num_channels=13,
        image_size=side,
        patch_size=patch,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=depth,
        num_attention_heads=width // 64,
        projection_dim=256,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
    )
    state = {}
    for key, value in net.state_dict().items():
        if ".in_proj_" in key:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                state[key.replace(".in_proj_", f".{letter}_proj.")] = part
        else:
            state[key] = value.T if key == "proj" else value
    block, layer = r"transformer\.resblocks\.(\d+)\.", r"vision_model.encoder.layers.\1."
    rules = [
        ("class_embedding", "vision_model.embeddings.class_embedding"),
        ("positional_embedding", "vision_model.embeddings.position_embedding.weight"),
        (r"conv1\.", "vision_model.embeddings.patch_embedding."),
        (r"ln_pre\.", "vision_model.pre_layrnorm."),
        (r"ln_post\.", "vision_model.post_layernorm."),
        (block + r"attn\.", layer + "self_attn."),
        (block + r"ln_(\d)\.", layer + r"layer_norm\2."),
        (block + r"mlp\.c_fc\.", layer + "mlp.fc1."),
        (block + r"mlp\.c_proj\.", layer + "mlp.fc2."),
        ("proj$", "visual_projection.weight"),
    ]
    oracle = CLIPVisionModelWithProjection(config).to(dtype).eval()
    oracle.load_state_dict(renamed(state, rules))
    assert_equal_to(net, lambda x: oracle(x).image_embeds, images(side, dtype))


def clip_resnet(state, x, *, depths):
    """CLIP's modified ResNet from its description (Radford et al. 2021, §2.4), one operation after the other.

    Nothing of the project is used: the normalisation is its formula, the pooling the mean over squares of pixels, and
    the attention torch's own.
    """

    def norm(name, x):
        mean, var, weight, bias = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def conv(name, x, **options):
        return functional.conv2d(x, state[f"{name}.weight"], **options)

    def halve(x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))

    x = norm("bn1", conv("conv1", x, stride=2, padding=1)).clamp(min=0)
    x = norm("bn2", conv("conv2", x, padding=1)).clamp(min=0)
    x = halve(norm("bn3", conv("conv3", x, padding=1)).clamp(min=0))
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            at = f"layer{stage}.{block}"
            down = halve if stage > 1 and block == 0 else lambda x: x
            y = norm(f"{at}.bn1", conv(f"{at}.conv1", x)).clamp(min=0)
            y = norm(f"{at}.bn2", conv(f"{at}.conv2", y, padding=1)).clamp(min=0)
            y = norm(f"{at}.bn3", conv(f"{at}.conv3", down(y)))
            if block == 0:
                x = norm(f"{at}.downsample.1", conv(f"{at}.downsample.0", down(x)))
            x = (x + y).clamp(min=0)
    tokens = x.reshape(*x.shape[:2], -1).permute(2, 0, 1)  # (H · W, N, C)
    tokens = torch.cat([tokens.mean(0, keepdim=True), tokens])
    tokens = tokens + state["attnpool.positional_embedding"][:, None]
    width = tokens.shape[2]
    pooled, _ = functional.multi_head_attention_forward(
        tokens[:1],
        tokens,
        tokens,
        embed_dim_to_check=width,
        num_heads=width // 64,
        in_proj_weight=None,
        in_proj_bias=torch.cat([state[f"attnpool.{letter}_proj.bias"] for letter in "qkv"]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=state["attnpool.c_proj.weight"],
        out_proj_bias=state["attnpool.c_proj.bias"],
        training=False,
        need_weights=False,
        use_separate_proj_weight=True,
        **{f"{letter}_proj_weight": state[f"attnpool.{letter}_proj.weight"] for letter in "qkv"},
    )
    return pooled[0]


@pytest.mark.parametrize(("side", "dtype"), [(224, torch.float64), (256, torch.float64), (256, torch.float32)])
def test_clip_resnet_is_its_description(side, dtype):
    net = randomised(SMALL_RESNET, dtype, width=32, image_resolution=side)
    state = net.state_dict()
    assert_equal_to(net, lambda x: clip_resnet(state, x, depths=SMALL_RESNET), images(side, dtype))


def sizes(layers, **options):
    with torch.device("meta"):
        net = build(layers, **options)
    assert all(tensor.is_meta for tensor in net.state_dict().values())  # nothing was drawn
    return net, {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize(
    ("layers", "options", "count", "entries"),
    [
        ("moco_resnet18", {"embed_dim": 1000}, 11_689_512, 122),
        ("moco_resnet50", {"embed_dim": 1000}, 25_557_032, 320),
        ("moco_vit16", {"embed_dim": 1000}, 22_050_664, 152),
        (12, {"width": 768, "patch_size": 32, "embed_dim": 512}, 87_849_216, 152),  # the visual half of CLIP's ViT-B/32
        ((3, 4, 6, 3), {"width": 64, "embed_dim": 1024}, 38_316_896, 339),  # and of its RN50
    ],
)
def test_parameter_counts_are_the_published_ones(layers, options, count, entries):
    net, shapes = sizes(layers, in_channels=3, **options)
    assert sum(parameter.numel() for parameter in net.parameters()) == count
    assert len(shapes) == entries


@pytest.mark.parametrize(
    ("layers", "known"),
    [
        (
            "moco_resnet18",
            {
                "conv1.weight": (64, 13, 7, 7),
                "bn1.running_mean": (64,),
                "bn1.num_batches_tracked": (),
                "layer1.1.conv2.weight": (64, 64, 3, 3),
                "layer2.0.downsample.0.weight": (128, 64, 1, 1),
                "layer2.0.downsample.1.running_var": (128,),
                "layer4.1.bn2.bias": (512,),
                "fc.weight": (256, 512),
                "fc.bias": (256,),
            },
        ),
        (
            "moco_resnet50",
            {
                "conv1.weight": (64, 13, 7, 7),
                "layer1.0.conv1.weight": (64, 64, 1, 1),
                "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                "layer3.5.conv3.weight": (1024, 256, 1, 1),
                "layer4.0.conv2.weight": (512, 512, 3, 3),
                "layer4.2.bn3.weight": (2048,),
                "fc.weight": (256, 2048),
            },
        ),
        (
            "moco_vit16",
            {
                "cls_token": (1, 1, 384),
                "pos_embed": (1, 197, 384),
                "patch_embed.proj.weight": (384, 13, 16, 16),
                "patch_embed.proj.bias": (384,),
                "blocks.0.norm1.weight": (384,),
                "blocks.0.attn.qkv.weight": (1152, 384),
                "blocks.0.attn.qkv.bias": (1152,),
                "blocks.0.attn.proj.weight": (384, 384),
                "blocks.11.norm2.bias": (384,),
                "blocks.11.mlp.fc1.weight": (1536, 384),
                "blocks.11.mlp.fc2.bias": (384,),
                "norm.weight": (384,),
                "head.weight": (256, 384),
            },
        ),
        (
            4,
            {
                "class_embedding": (128,),
                "positional_embedding": (65, 128),
                "conv1.weight": (128, 13, 32, 32),
                "ln_pre.weight": (128,),
                "transformer.resblocks.3.attn.in_proj_weight": (384, 128),
                "transformer.resblocks.3.attn.out_proj.bias": (128,),
                "transformer.resblocks.0.ln_1.weight": (128,),
                "transformer.resblocks.0.mlp.c_fc.weight": (512, 128),
                "transformer.resblocks.0.mlp.c_proj.weight": (128, 512),
                "ln_post.bias": (128,),
                "proj": (128, 256),
            },
        ),
        (
            [1, 1, 1, 1],
            {
                "conv1.weight": (64, 13, 3, 3),
                "conv3.weight": (128, 64, 3, 3),
                "bn3.running_var": (128,),
                "layer1.0.downsample.0.weight": (512, 128, 1, 1),
                "layer4.0.downsample.1.bias": (4096,),
                "layer4.0.conv3.weight": (4096, 1024, 1, 1),
                "attnpool.positional_embedding": (65, 4096),
                "attnpool.q_proj.weight": (4096, 4096),
                "attnpool.c_proj.weight": (256, 4096),
            },
        ),
    ],
)
def test_names_and_shapes_are_those_of_official_files(layers, known):
    _, shapes = sizes(layers, **CLIP_VIT)
    assert known.items() <= shapes.items()
    assert not [name for name in shapes if "conv" in name and name.endswith("bias")]


def test_bottleneck_without_change_of_shape_has_no_projection():
    assert not [name for name in sizes("moco_resnet50")[1] if re.match(r"layer\d\.[1-9].*downsample", name)]
    assert not [name for name in sizes("moco_resnet18")[1] if name.startswith("layer1.0.downsample")]


@pytest.mark.parametrize(
    ("layers", "trainable"),
    [
        ("moco_resnet18", {"fc.weight", "fc.bias"}),
        ("moco_resnet50", {"fc.weight", "fc.bias"}),
        ("moco_vit16", {"head.weight", "head.bias"}),
        (2, {"proj"}),
        ((1, 1, 1, 1), {"attnpool.c_proj.weight", "attnpool.c_proj.bias"}),
    ],
)
def test_head_names_are_the_last_layer(layers, trainable):
    net, _ = sizes(layers)
    heads = head_names(layers)
    found = {name for name, _ in net.named_parameters() if any(f"{name}.".startswith(f"{head}.") for head in heads)}
    assert found == trainable


@pytest.mark.parametrize("layers", ["moco_resnet18", "moco_vit16", 2, (1, 1, 1, 1)])
def test_a_fresh_network_is_drawn_from_the_global_generator(layers):
    """Fresh weights are finite, repeat with the seed, and tell two images apart."""
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(build(layers, in_channels=2, embed_dim=8, image_resolution=64))
    first, second = (net.state_dict() for net in nets)
    assert all(torch.equal(first[name], second[name]) for name in first)
    x = images(224 if layers == "moco_vit16" else 64, torch.float32, channels=2)
    y = nets[0].eval()(x)
    assert y.isfinite().all() and (y[0] - y[1]).abs().max() > 0


def test_a_fresh_residual_block_passes_its_input_on():
    x = images(8, torch.float32, channels=32).abs()
    assert torch.equal(Bottleneck(32, 8, 1).eval()(x), x)


@pytest.mark.parametrize(
    ("layers", "options", "shape", "words"),
    [
        ("moco_resnet18", {}, (2, 12, 64, 64), "(N, 13, H, W), but was given (2, 12, 64, 64): pass 13 bands"),
        ("moco_resnet50", {}, (13, 64, 64), "(N, 13, H, W), but was given (13, 64, 64)"),
        ("moco_vit16", {}, (1, 13, 256, 256), "(N, 13, 224, 224), but was given (1, 13, 256, 256)"),
        ("moco_vit16", {}, (1, 13, 256, 256), "crop or resize every patch to 224 × 224 pixels."),
        ("moco_vit16", {}, (1, 4, 224, 224), "pass 13 bands in the checkpoint's order"),
        (1, CLIP_VIT, (1, 13, 224, 224), "(N, 13, 256, 256), but was given (1, 13, 224, 224)"),
        ((1, 1, 1, 1), {}, (1, 13, 224, 256), "(N, 13, 224, 224), but was given (1, 13, 224, 256)"),
    ],
)
def test_images_that_do_not_fit_are_refused_in_a_sentence(layers, options, shape, words):
    with torch.device("meta"):
        net = build(layers, **options)
    with pytest.raises(PatchError, match=re.escape(words)):
        net(torch.empty(shape))


@pytest.mark.parametrize(
    ("layers", "options", "words"),
    [
        (
            "moco_resnet34",
            {},
            "No image encoder has vision_layers 'moco_resnet34': it is moco_resnet18, moco_resnet50,",
        ),
        (0, {}, "has vision_layers 0"),
        (10**9, {}, "a number of blocks from 1 to 100"),
        (True, {}, "has vision_layers True"),
        (2.0, {}, "has vision_layers 2.0"),
        (None, {}, "has vision_layers None"),
        ([3, 4, 6], {}, "has vision_layers [3, 4, 6]"),
        ([3, 4, 6, "3"], {}, "a list of four such numbers"),
        (4, {"width": 32}, "vision_width 32 does not divide into attention heads of 64"),
        (4, {"width": 200}, "vision_width 200 does not divide"),
        (4, {"patch_size": 0}, "vision_patch_size 0 does not fit image_resolution 224"),
        (4, {"patch_size": 225}, "vision_patch_size 225 does not fit image_resolution 224"),
        ((1, 1, 1, 1), {"width": 63}, "halves vision_width, so 63 cannot be"),
        ((1, 1, 1, 1), {"image_resolution": 16}, "image_resolution 16 cannot be: give a multiple of 32"),
        ((1, 1, 1, 1), {"image_resolution": 255}, "image_resolution 255 cannot be"),
    ],
)
def test_configurations_that_cannot_be_are_refused_in_a_sentence(layers, options, words):
    with pytest.raises(CheckpointError, match=re.escape(words)):
        build(layers, **options)
    if not options:
        with pytest.raises(CheckpointError, match="No image encoder"):
            head_names(layers)


def test_clip_resnet_takes_every_size_that_it_does_not_refuse():
    """The rule of the sides that cannot be, against the network itself."""
    for side in range(32, 97):
        if side % 32 != 31:
            net = randomised((1, 1, 1, 1), torch.float32, width=2, image_resolution=side, in_channels=1)
            assert net(torch.rand(1, 1, side, side)).isfinite().all()
