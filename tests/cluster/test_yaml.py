"""The cluster files: valid by Ray's own schema, and holding to what its traps demand."""

import json
import subprocess
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


def test_no_node_opens_a_port_to_people_without_the_token():
    for name in FILES:
        config = yaml.safe_load((ROOT / name).read_text())
        for command in (*config["head_start_ray_commands"], *config["worker_start_ray_commands"]):
            assert "dashboard-host" not in command  # by default it listens on the head's loopback alone
            assert "ray-client-server-port" not in command


# The fields of a RayJob that ours uses, as version v1 of the resource has them: names are exact, types are checked.
_TEXT, _WHOLE, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}


def _object(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_CONTAINER = _object(
    ("name", "image", "resources"),
    name=_TEXT,
    image=_TEXT,
    resources=_object(
        ("requests", "limits"),
        requests={"type": "object", "additionalProperties": _TEXT},
        limits={"type": "object", "additionalProperties": _TEXT},
    ),
    env={"type": "array", "items": _object(("name", "value"), name=_TEXT, value=_TEXT)},
    securityContext=_object(
        allowPrivilegeEscalation=_FLAG, capabilities=_object(drop={"type": "array", "items": _TEXT})
    ),
    volumeMounts={"type": "array", "items": _object(("name", "mountPath"), name=_TEXT, mountPath=_TEXT)},
)
_POD = _object(
    ("spec",),
    spec=_object(
        ("containers",),
        automountServiceAccountToken=_FLAG,
        securityContext=_object(runAsNonRoot=_FLAG, runAsUser=_WHOLE, fsGroup=_WHOLE),
        terminationGracePeriodSeconds=_WHOLE,
        containers={"type": "array", "items": _CONTAINER},
        volumes={"type": "array", "items": _object(name=_TEXT, persistentVolumeClaim=_object(claimName=_TEXT))},
    ),
)
_PARAMETERS = {"type": "object", "additionalProperties": _TEXT}
_RAYJOB = _object(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=_object(("name",), name=_TEXT),
    spec=_object(
        ("entrypoint", "rayClusterSpec"),
        entrypoint=_TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]},
        backoffLimit=_WHOLE,
        shutdownAfterJobFinishes=_FLAG,
        ttlSecondsAfterFinished=_WHOLE,
        rayClusterSpec=_object(
            ("headGroupSpec", "workerGroupSpecs"),
            rayVersion=_TEXT,
            authOptions=_object(("mode",), mode={"enum": ["disabled", "token"]}),
            enableInTreeAutoscaling=_FLAG,
            headGroupSpec=_object(("rayStartParams", "template"), rayStartParams=_PARAMETERS, template=_POD),
            workerGroupSpecs={
                "type": "array",
                "items": _object(
                    ("groupName", "rayStartParams", "template"),
                    groupName=_TEXT,
                    replicas=_WHOLE,
                    minReplicas=_WHOLE,
                    maxReplicas=_WHOLE,
                    rayStartParams=_PARAMETERS,
                    template=_POD,
                ),
            },
        ),
    ),
)


def test_the_rayjob_has_the_fields_of_its_kind_and_holds_to_the_rules_of_a_cluster():
    import jsonschema

    job = yaml.safe_load((ROOT / "cluster/kuberay/rayjob.yaml").read_text())
    jsonschema.validate(job, _RAYJOB)
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert cluster["rayVersion"] == pinned["ray"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    grace = {entry["name"]: int(entry["value"]) for entry in head["containers"][0]["env"]}
    patience = grace["RAY_JOB_STOP_WAIT_TIME_S"]
    assert grace["INTRIGUING_GRACE_SECONDS"] < patience < head["terminationGracePeriodSeconds"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for spec in (group["template"]["spec"] for group in groups):
        assert spec["securityContext"]["runAsNonRoot"]
        assert {m["name"] for c in spec["containers"] for m in c["volumeMounts"]} == {
            v["name"] for v in spec["volumes"]
        }
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job | {"spec": job["spec"] | {"entrypiont": "x"}}, _RAYJOB)


def test_the_image_takes_files_that_are_there_and_that_its_context_holds():
    lines = (ROOT / "cluster/image/Containerfile").read_text().splitlines()
    taken = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert {"intriguing", "jobs", "constraints.txt"} <= set(taken)
    assert all((ROOT / name).exists() for name in taken)
    kept = (ROOT / "cluster/image/Containerfile.dockerignore").read_text().splitlines()
    assert {name.removeprefix("!") for name in kept if name.startswith("!")} == set(taken)
    assert any(line.startswith("USER ") and line != "USER root" for line in lines)


def test_the_slurm_job_is_valid_and_keeps_its_ray_to_itself():
    script = ROOT / "cluster/slurm/full_sweep.sbatch"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    starts = [line for line in text.replace("\\\n", " ").splitlines() if "ray start" in line]
    assert len(starts) == 2
    assert all("--block" in line for line in starts)
    assert text.index("RAY_AUTH_MODE=token") < text.index("ray start")
    assert "#SBATCH --signal=B:USR1@120" in text
    assert "export INTRIGUING_GRACE_SECONDS=90" in text
    assert text.index("trap ") < text.index("srun ") < text.index("until ")
