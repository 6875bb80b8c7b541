"""The cluster files: valid by Ray's own schema, and holding to what its traps demand."""

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ("ray-cluster.yaml", "cluster/on-premises.yaml")


@pytest.mark.parametrize("name", FILES)
def test_ray_s_schema_accepts_it(name):
    import jsonschema
    import ray

    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load((ROOT / name).read_text()), schema)


@pytest.mark.parametrize("name", FILES)
def test_every_node_asks_for_the_token_and_the_head_holds_no_work(name):
    config = yaml.safe_load((ROOT / name).read_text())
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert any("--head" in c and "--num-cpus=0" in c for c in config["head_start_ray_commands"])


def test_local_workers_all_join():
    config = yaml.safe_load((ROOT / "cluster/on-premises.yaml").read_text())
    assert any("RAY_enable_autoscaler_v2=0" in c for c in config["head_start_ray_commands"])
