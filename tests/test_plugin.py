"""The example plugin, installed from its wheel into an environment of its own, works everywhere with no edit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, BenchResult, last_json

pytestmark = pytest.mark.slow

PLUGIN = REPOSITORY / "examples" / "plugin"
TOY = ("--benchmark", "toy-sums", "--meter", "toy-watts:50", "--idle-s", 0.2)


def build_wheel(source: Path, into: Path) -> Path:
    """The wheel of a package."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(into), str(source)]
    subprocess.run(command, check=True, timeout=500)
    (wheel,) = into.glob("*.whl")
    return wheel


class Environment:
    """A virtual environment with our wheel and a plugin's; what both depend on is shared with the tests' own."""

    def __init__(self, folder: Path, *wheels: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
        self.python = folder / "venv" / "bin" / "python"
        site = next((folder / "venv" / "lib").glob("python*/site-packages"))
        self.site = site
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
        subprocess.run([*command, *map(str, wheels)], check=True, timeout=500)
        (site / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", "utf-8")

    def bench(self, *arguments: object) -> BenchResult:
        """``bench ARGS...`` there."""
        return self._call("-m", "passkwh.cli.main", *map(str, arguments))

    def python_says(self, code: str) -> str:
        """What a few lines of Python print there."""
        return self._call("-c", code).stdout

    def variables(self) -> dict[str, str]:
        """The environment variables of what runs there."""
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {**outside, "PASSKWH_LOCKS": str(self.folder / "locks"), "PASSKWH_CACHE": str(self.folder / "cache")}

    def _call(self, *arguments: str) -> BenchResult:
        return subprocess.run(
            [str(self.python), *arguments], capture_output=True, text=True, check=False, cwd=self.folder, timeout=500,
            env=self.variables(),
        )  # fmt: skip


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(REPOSITORY, tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(PLUGIN, tmp_path_factory.mktemp("plugin"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, ours: Path, plugin: Path) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment"), ours, plugin)


@pytest.fixture(scope="module")
def runs(environment: Environment) -> Path:
    """Two runs of the toy engine, of models that know three of four solutions, and one."""
    for known in (3, 1):
        run = last_json(environment.bench("run", "--model", f"toy:{known}", *TOY, "--json"))
        assert run["solved"] == known
        assert run["provenance"] == "simulated"
    return environment.folder / "runs"


def test_it_is_really_the_wheel(environment: Environment) -> None:
    code = "import passkwh, passkwh_toy; print(passkwh.__file__, passkwh_toy.__file__)"
    shown = environment.python_says(code).split()
    assert all(Path(place).is_relative_to(environment.site) for place in shown)


def test_list_says_who_provides_what(environment: Environment) -> None:
    listed = last_json(environment.bench("list", "--json"))
    expected = {
        "engines": "toy", "quantizations": "toy-int8", "benchmarks": "toy-sums", "meters": "toy-watts",
        "exit_rules": "toy-sign", "report_sections": "toy-lengths",
    }  # fmt: skip
    for group, name in expected.items():
        (member,) = (member for member in listed[group] if member["name"] == name)
        assert member["providers"] == ["passkwh-toy 0.1.0"]
        assert "cannot be used" not in member["summary"]


def test_a_run_is_of_its_engine_and_meter(runs: Path) -> None:
    manifests = [json.loads(file.read_text("utf-8")) for file in sorted(runs.glob("*/manifest.json"))]
    assert [m["model"]["engine"] for m in manifests] == ["toy", "toy"]
    assert {c["name"] for m in manifests for c in m["meter"]["channels"]} == {"toy:device"}


def test_score(environment: Environment, runs: Path) -> None:
    (folder,) = runs.glob("toy-3-*")
    scored = last_json(environment.bench("score", folder, "--json"))
    assert scored["pass_at_k"]["1"] == 0.75
    verified = last_json(environment.bench("verify", "toy-sums", "--json"))
    assert verified["pass"] == 4


def test_report_has_its_section(environment: Environment, runs: Path) -> None:
    last_json(environment.bench("report", runs, "--out", "report.html", "--json"))
    page = (environment.folder / "report.html").read_text("utf-8")
    assert "How long completions are" in page
    last_json(environment.bench("report", runs, "--experiment", "all", "--out", "long", "--resamples", 200, "--json"))
    assert "How long completions are" in (environment.folder / "long" / "report.html").read_text("utf-8")


def test_board(environment: Environment, runs: Path) -> None:
    last_json(environment.bench("leaderboard", "pack", runs, "--out", "packs", "--json"))
    built = last_json(environment.bench("leaderboard", "build", "packs", "--out", "site", "--json"))
    assert built["refused"] == []
    assert "toy-sums" in (environment.folder / "site" / "index.html").read_text("utf-8") + "".join(
        file.read_text("utf-8") for file in (environment.folder / "site").rglob("*.js*")
    )


def test_sweep_in_fresh_processes(environment: Environment) -> None:
    study = environment.folder / "local.toml"
    study.write_text(_study("local"), "utf-8")
    assert last_json(environment.bench("sweep", "run", study, "--out", "studies", "--json"))["complete"]


def test_sweep_on_ray(environment: Environment) -> None:
    study = environment.folder / "ray.toml"
    study.write_text(_study("on-ray"), "utf-8")
    # The cluster's processes, too, run in the plugin's environment; they end with the one that started them.
    start = (
        "import sys; from ray import cluster_utils; from passkwh.harness.sweep.ray_launcher import METER\n"
        "node = {'num_cpus': 1, 'resources': {METER: 1}, 'object_store_memory': 100 * 2**20}\n"
        "cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={**node, 'include_dashboard': False})\n"
        "print(cluster.address, flush=True); sys.stdin.read(); cluster.shutdown()"
    )
    cluster = subprocess.Popen(
        [str(environment.python), "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**environment.variables(), "RAY_USAGE_STATS_ENABLED": "0"},
    )  # fmt: skip
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    try:
        address = next(line.strip() for line in cluster.stdout if line.startswith(("127.", "1", "2")))
        swept = environment.bench("sweep", "run", study, "--ray", address, "--out", "studies", "--json")
        assert last_json(swept)["complete"]
    finally:
        cluster.stdin.close()
        cluster.wait(timeout=300)


def _study(name: str) -> str:
    return (
        f'name = "{name}"\ncool_down_s = 0\n[defaults]\nbenchmark = "toy-sums"\nmeter = "toy-watts:50"\nidle_s = 0.1\n'
        '[matrix]\nmodel = ["toy:2", "toy:4"]\n'
    )


def test_its_quantization_and_exit_rule_with_our_engine(environment: Environment, tiny_llama: Path) -> None:
    more = ("--max-new-tokens", 8, "--limit", 1, "--json")
    rounded = last_json(environment.bench("run", "--model", tiny_llama, "--quant", "toy-int8", *TOY, *more))
    assert rounded["quant"] == "toy-int8"
    manifest = json.loads((environment.folder / rounded["run_dir"] / "manifest.json").read_text("utf-8"))
    quantization = manifest["model"]["quantization"]
    assert (quantization["method"], quantization["bits"]) == ("toy-int8", 8)
    assert quantization["quantized_with"] == "passkwh-toy 0.1.0"
    early = last_json(environment.bench("run", "--model", tiny_llama, "--exit", "toy-sign,exits=1+2", *TOY, *more))
    manifest = json.loads((environment.folder / early["run_dir"] / "manifest.json").read_text("utf-8"))
    assert manifest["model"]["early_exit"]["rule"].startswith("toy-sign")
    assert early["mean_exit_layer"] <= 2


def test_two_packages_with_one_name_are_refused_naming_both(tmp_path: Path, ours: Path, plugin: Path) -> None:
    copy = shutil.copytree(PLUGIN, tmp_path / "copy")
    project = copy / "pyproject.toml"
    project.write_text(project.read_text("utf-8").replace('name = "passkwh-toy"', 'name = "passkwh-twin"'), "utf-8")
    twice = Environment(tmp_path, ours, plugin, build_wheel(copy, tmp_path / "twin"))
    refused = twice.bench("run", "--model", "toy:4", *TOY, "--engine", "toy")
    assert refused.returncode == 2
    assert "passkwh-toy 0.1.0" in refused.stderr
    assert "passkwh-twin 0.1.0" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    # What has one provider still works beside it.
    assert "transformers" in {member["name"] for member in last_json(twice.bench("list", "--json"))["engines"]}
