"""Recipes as YAML files: what ships is what the code says, and what is wrong is named."""

from pathlib import Path

import pytest
import yaml

from data.errors import CheckpointError
from model.config_files import as_yaml, read_config
from model.presets import PRESETS
from model.recipes import FolderConfig
from model.run import RunOptions
from tests.model.folders import TINY

CONFIGS = Path(__file__).parents[2] / "configs"
LEAST = "kind: satclip\nname: x\nnetwork: {legendre_polys: 10}\n"


def test_the_preset_is_its_file():
    config, options = read_config(CONFIGS / "blue-marble.yaml")
    assert config == PRESETS["blue-marble"] and options == RunOptions()


@pytest.mark.parametrize("trunk", ["resnet18", "resnet50", "vit16"])
@pytest.mark.parametrize("degrees", [10, 40])
def test_official_runs(trunk, degrees):
    config, _ = read_config(CONFIGS / f"satclip-{trunk}-l{degrees}.yaml")
    assert isinstance(config, FolderConfig) and config.name == f"satclip-{trunk}-l{degrees}"
    network = config.network
    assert (network.vision_layers, network.legendre_polys) == (f"moco_{trunk}", degrees)
    assert (network.learning_rate, network.weight_decay, network.capacity) == (1e-4, 0.01, 512)
    assert (network.num_hidden_layers, network.embed_dim, network.pe_type) == (2, 256, "siren")
    assert network.patch_px == (224 if trunk == "vit16" else 256)
    assert (config.batch, config.accumulate, config.epochs, config.validation_share) == (512, 16, 500, 0.1)
    assert config.freeze_trunk and config.trunk == "moco" and config.schedule == "constant" and config.max_scale == 100


def test_a_recipe_survives_its_file(tmp_path):
    for config in (TINY, PRESETS["blue-marble"]):
        (tmp_path / "x.yaml").write_text(as_yaml(config))
        assert read_config(tmp_path / "x.yaml")[0] == config


def test_settings_replace_values(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(LEAST)
    settings = ["batch=2048", "run.precision=bf16", "network.capacity=64", "network.learning_rate=1e-3"]
    config, options = read_config(path, settings=settings)
    assert (config.batch, options.precision, config.network.capacity) == (2048, "bf16", 64)
    assert config.network.learning_rate == 1e-3  # which YAML 1.1 takes for a word


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        ("- a\n", (), "expected keys and values, found list"),
        ("a: [\n", (), "cannot be read as YAML"),
        ("name: x\n", (), "key kind: None is unknown; choose one of blue-marble, satclip"),
        (LEAST + "bach: 3\n", (), "key bach: there is no such key. Keys here: name, network, trunk"),
        (LEAST, ["network.polys=3"], r"key network\.polys: there is no such key"),
        (LEAST + "batch: many\n", (), "key batch: Input should be a valid integer.*found 'many'"),
        (LEAST + "schedule: linear\n", (), "key schedule: Input should be 'constant' or 'cosine'"),
        ("kind: satclip\nname: x\n", (), "key network: the key is missing"),
        (LEAST, ["run.devises=3"], r"key run\.devises: there is no such key"),
        (LEAST, ["run.precision=fp8"], r"key run\.precision: Input should be 'auto', 'fp32' or 'bf16'"),
        (LEAST, ["batch"], "expected KEY=VALUE"),
        (LEAST, ["name.x=3"], "name is a value"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, settings, words):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=words):
        read_config(path, settings=settings)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.yaml: cannot be read"):
        read_config(tmp_path / "none.yaml")


def test_yaml_is_never_run(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("kind: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(CheckpointError, match="cannot be read as YAML"):
        read_config(path)
    assert yaml.safe_load(as_yaml(TINY))["kind"] == "satclip"
