"""The files of clusters/: they fit Ray's and the operator's schemas, and their commands exist as written."""

import importlib
import json
import re
import shlex
import subprocess
from pathlib import Path

import jsonschema
import pytest
import typer
import yaml

from sensorium.cli.main import app
from sensorium.runtime import description
from sensorium.serving import settings

ROOT = Path(__file__).parents[2]
CLUSTERS = ROOT / "clusters"
FILES = sorted(path for path in CLUSTERS.rglob("*") if path.is_file())
LAUNCHER = [CLUSTERS / name for name in ("bare-metal.yaml", "aws-gpu.yaml", "gcp-gpu.yaml")]
KUBERAY = sorted((CLUSTERS / "kuberay").glob("ray*.yaml"))
PYTHON = re.findall(r'^requires-python = ">=([\d.]+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]
LOCK = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE))


def name(path: Path) -> str:
    return str(path.relative_to(CLUSTERS))


def test_all_are_there():
    assert set(map(name, FILES)) == {
        *("laptop.yaml", "bare-metal.yaml", "aws-gpu.yaml", "gcp-gpu.yaml", "slurm/sensorium.sbatch"),
        *(f"kuberay/{file}" for file in ("Dockerfile", "storage.yaml", "raycluster.yaml", "rayjob.yaml")),
        "kuberay/rayservice.yaml",
    }


@pytest.mark.parametrize("path", FILES, ids=name)
def test_each_says_in_three_lines_for_whom_what_and_how(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#!")]
    assert [line.split()[1] for line in lines[:3]] == ["For", "Gives", "Start:"]
    assert not lines[3].startswith("# ")
    assert name(path) in lines[2]


def test_the_laptop_has_three_nodes():
    found = description.read(CLUSTERS / "laptop.yaml")
    assert (found.name, len(found.nodes), found.nodes[0].cpus) == ("laptop", 3, 2)


@pytest.mark.parametrize("path", LAUNCHER, ids=name)
def test_launcher_files_fit_rays_schema(path):
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    content = yaml.safe_load(path.read_text())
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "max_wokers": 2}, schema)


@pytest.mark.parametrize("path", [CLUSTERS / "aws-gpu.yaml", CLUSTERS / "gcp-gpu.yaml"], ids=name)
def test_clouds_have_an_on_demand_head_and_spot_workers_with_several_gpus(path):
    content = yaml.safe_load(path.read_text())
    types = content["available_node_types"]
    assert content["head_node_type"] == "head"
    assert types["gpu"]["resources"]["GPU"] >= 2
    assert types["gpu"]["min_workers"] == 0 < types["gpu"]["max_workers"]
    assert "spot" in json.dumps(types["gpu"]).lower()
    assert "spot" not in json.dumps(types["head"]).lower()


@pytest.fixture(scope="module")
def operator(data):
    return json.loads((data.parent / "kuberay" / "crd-v1.schema.json").read_text())


@pytest.mark.parametrize("path", KUBERAY, ids=name)
def test_kubernetes_files_fit_the_operators_schema(path, operator):
    (content,) = yaml.safe_load_all(path.read_text())
    validator = jsonschema.Draft202012Validator(operator[content["kind"]])
    assert [error.message for error in validator.iter_errors(content)] == []
    spec = cluster_spec(content)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["gcsFaultToleranceOptions"]["redisAddress"].startswith("sensorium-redis:")
    workers = spec["workerGroupSpecs"][0]["template"]["spec"]
    assert int(workers["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) >= 1
    assert "sensorium-shared" in json.dumps(workers["volumes"])
    spec["haedGroupSpec"] = {}
    assert not validator.is_valid(content)


def test_what_kubernetes_serves_fits_the_settings():
    content = yaml.safe_load(yaml.safe_load(read("kuberay/rayservice.yaml"))["spec"]["serveConfigV2"])
    (application,) = content["applications"]
    module, _, function = application["import_path"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert settings.check(application["args"]).models["clip"].model == "models:/clip@champion"


def test_what_kubernetes_files_refer_to_is_in_the_storage_file():
    stored = {(entry["kind"], entry["metadata"]["name"]) for entry in yaml.safe_load_all(read("kuberay/storage.yaml"))}
    assert {("PersistentVolumeClaim", "sensorium-shared"), ("Secret", "sensorium-redis")} < stored
    assert ("Service", "sensorium-redis") in stored


@pytest.mark.parametrize("path", FILES, ids=name)
def test_versions_are_the_locks(path):
    text = path.read_text()
    rays = re.findall(r"rayproject/ray:([\d.]+)|rayVersion: \"([\d.]+)\"|-ray([\d.]+)-py", text)
    assert {version for found in rays for version in found if version} <= {LOCK["ray"]}
    pythons = re.findall(r"-py(\d+)|python(3\.\d+)", text)
    assert {version for found in pythons for version in found if version} <= {PYTHON, PYTHON.replace(".", "")}
    if path in LAUNCHER[1:] or path in KUBERAY or path.name == "Dockerfile":
        assert rays
        assert pythons


@pytest.mark.parametrize("path", [*LAUNCHER, *KUBERAY, CLUSTERS / "slurm" / "sensorium.sbatch"], ids=name)
def test_every_cluster_asks_for_a_token(path):
    text = path.read_text()
    if path in KUBERAY:
        assert "mode: token" in text
    elif path in LAUNCHER:
        starts = re.findall(r"^.*ray start .*$", text, re.MULTILINE)
        assert len(starts) == 2
        assert all("RAY_AUTH_MODE=token ray start" in line for line in starts)
    else:
        assert text.index("export RAY_AUTH_MODE=token") < text.index("ray start")


# ------------------------------------------------------------------------------------- commands


def read(file: str) -> str:
    return (CLUSTERS / file).read_text()


def cluster_spec(content):
    spec = content["spec"]
    return spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec


def texts(path: Path) -> list[str]:
    """Returns the shell texts of a file."""
    text = path.read_text()
    found = re.findall(r"^# Start: (.*)$", text, re.MULTILINE)
    if path.suffix == ".sbatch":
        joined = re.sub(r"\\\n\s*", " ", text).replace('sensorium "$@"', "sensorium train clip")
        return [*found, *(line.split(" #")[0] for line in joined.splitlines() if not line.startswith("#"))]
    if path in LAUNCHER:
        content = yaml.safe_load(text)
        found += [line for key in content if key.endswith("_commands") for line in content[key]]
    if path in KUBERAY:
        content = yaml.safe_load(text)
        found += [content["spec"]["entrypoint"]] if "entrypoint" in content["spec"] else []
        spec = cluster_spec(content)
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            found.append("ray start " + " ".join(f"--{key}={value}" for key, value in group["rayStartParams"].items()))
    return found


def commands(text: str) -> list[list[str]]:
    """Returns the calls of ray and sensorium in a shell text, as words."""
    calls = []
    for part in re.split(r"&&|\|\||[;|&\n]|\$\((?!\()|(?:until|if|while) ", text):
        try:
            words = shlex.split(part.strip().rstrip(")]"))
        except ValueError:
            words = part.split()
        for place, word in enumerate(words):
            if word in ("ray", "sensorium") or word.endswith(("/bin/ray", "/bin/sensorium")):
                calls.append([word.rpartition("/")[2], *words[place + 1 :]])
                break
            if word == "start" and "--" in part:  # the function of the Slurm script
                calls.append(["ray", "start", *words[place + 1 :]])
                break
            if not re.match(r"-|\w+=|(srun|export|until|if|\[|!)$", word):  # another command
                break
    return calls


def options_of(words: list[str]) -> set[str]:
    """Returns the options that the command line offers for a call."""
    from ray.scripts.scripts import cli

    found = cli if words[0] == "ray" else typer.main.get_command(app)
    for word in words[1:]:
        if not hasattr(found, "commands"):
            break
        assert word in found.commands, f"{words}: there is no command {word!r}"
        found = found.commands[word]
    assert not hasattr(found, "commands"), f"{words} is not complete"
    return {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_command_exists_with_its_options(path):
    calls = [call for text in texts(path) for call in commands(text)]
    if path.name not in ("Dockerfile", "storage.yaml"):
        assert calls
    for words in calls:
        given = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
        assert given <= options_of(words), words
    if path.suffix == ".sbatch":
        assert sum(words[:2] == ["ray", "start"] for words in calls) == 3
        assert ["ray", "health-check"] in [words[:2] for words in calls]
        assert ["ray", "status"] in [words[:2] for words in calls]


def test_a_command_that_does_not_exist_would_be_found():
    with pytest.raises(AssertionError, match="there is no command"):
        options_of(["ray", "strat", "--head"])
    assert "--hed" not in options_of(["ray", "start"])
    assert "--workers" in options_of(["sensorium", "train", "clip"])


def test_the_slurm_script_is_a_script():
    subprocess.run(["bash", "-n", str(CLUSTERS / "slurm" / "sensorium.sbatch")], check=True)
