"""The project's own files: pins, targets, packaging, contracts, and the notebooks in git."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement

from alice_repro.workflow.notebook import parameters_of

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOTEBOOKS = sorted(p for p in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
MOST_CELLS, MOST_LINES = 15, 60


def requirements(lines) -> dict[str, Requirement]:
    """Parse pins; keep those that hold for Python 3.11 on Linux."""
    machine = default_environment() | {"python_version": "3.11", "python_full_version": "3.11.9"}
    machine |= {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
    parsed = [Requirement(line) for line in lines]
    return {r.name: r for r in parsed if r.marker is None or r.marker.evaluate(machine)}


def locked() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return requirements(line for line in lines if re.match(r"[a-z0-9]", line))


def test_conda_environment_pins_what_the_lock_pins():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(d["pip"] for d in dependencies if isinstance(d, dict))
    assert "python=3.11" in dependencies
    assert pip[:2] == ["--constraint requirements.lock", "--editable ."]  # the lock rules what is not named
    pins = {name: str(r.specifier) for name, r in requirements(pip[2:]).items()}
    project = PROJECT["project"]
    direct = requirements(project["dependencies"] + project["optional-dependencies"]["dev"])
    assert pins == {name: str(locked()[name].specifier) for name in direct}


def test_lock_is_exact_and_meets_the_project():
    project = PROJECT["project"]
    lock = locked()
    assert all([s.operator for s in r.specifier] == ["=="] for r in lock.values())
    for name, wanted in requirements(project["dependencies"]).items():
        version = next(iter(lock[name].specifier)).version
        assert wanted.specifier.contains(version), f"{name} {version} does not meet {wanted}"


def test_this_environment_is_the_locked_one():
    from importlib.metadata import version

    expected = {name: next(iter(r.specifier)).version for name, r in locked().items()}
    wrong = {name: version(name) for name in ("torch", "diffusers", "transformers", "papermill", "pymunk")}
    assert wrong == {name: expected[name] for name in wrong}


def make(*arguments: str) -> str:
    environment = os.environ | {"VIRTUAL_ENV": "/elsewhere"}
    command = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_make_without_a_target_lists_every_target():
    listed = set(re.findall(r"^  make ([a-z0-9-]+) ", make(), re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert listed == set(phony)
    assert {"setup", "test", "lab", "reproduce-table4", "reproduce-figure1"} <= listed


@pytest.mark.parametrize(
    "target", "test test-slow lint lab lab-teacher reproduce-table4 reproduce-figure1 smoke".split()
)
def test_every_target_sets_itself_up(target):
    plan = make("--dry-run", "--always-make", target)
    assert "uv pip sync" in plan and "requirements.lock" in plan


def test_scale_and_settings_reach_the_command():
    plan = make("--dry-run", "reproduce-table4", "SCALE=smoke", "SET=student.steps=8 seed=1")
    assert plan.splitlines()[-1].endswith(
        "alice-repro reproduce alice table04 --scale smoke --set 'student.steps=8' --set 'seed=1'"
    )
    assert make("--dry-run", "smoke").splitlines()[-1].endswith("table04 --scale smoke ")


def test_setup_names_the_python_it_needs(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\ncase "$*" in *sys*) exit 1;; esac\necho Python 3.9.2\n')
    old.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(["make", "setup", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Python 3.11 or 3.12" in done.stdout and "PYTHON=" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_clean_results_keeps_the_reference(tmp_path):
    for name in ("results/lab/a.csv", "results/reference/lab/b.csv", "figures/lab/c.svg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    command = ["make", "-f", str(ROOT / "Makefile"), "clean-results"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert [p.name for p in tmp_path.rglob("*.*")] == ["b.csv"]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_import_contracts_hold():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "planted", "broken"),
    [
        ("distill/planted.py", "from alice_repro.world import oracle", "never feeds what it judges"),
        ("flow/planted.py", "import alice_repro.training", "Layers"),
        ("evaluation/planted.py", "import alice_repro.sampling", "knows nothing of how they were made"),
    ],
)
def test_import_contracts_find_a_planted_fault(tmp_path, module, planted, broken):
    weights = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(ROOT / "alice_repro", tmp_path / "alice_repro", ignore=weights)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "alice_repro" / module).write_text(planted + "\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert re.search(rf"{broken}.* BROKEN", done.stdout), done.stdout


def modules(package: str) -> list[str]:
    files = (ROOT / "alice_repro" / package).rglob("*.py")
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in files]
    return sorted(names)


def test_reporting_and_audit_import_without_torch():
    """Every module of both is imported in a fresh process; torch may not be there afterwards."""
    names = modules("reporting") + modules("audit")
    assert "alice_repro.reporting" in names
    code = f"import sys\nfor n in {names!r}: __import__(n)\nsys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr or "torch was imported"


def test_data_files_inside_the_package_are_packaged():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["alice_repro"]
    package = ROOT / "alice_repro"
    packaged = {p for pattern in patterns for p in package.glob(pattern)}
    tracked = subprocess.run(["git", "ls-files", "alice_repro"], cwd=ROOT, capture_output=True, text=True)
    files = {ROOT / name for name in tracked.stdout.split("\n") if name and not name.endswith(".py")}
    assert not {str(p) for p in files - packaged}


def test_there_are_notebooks():
    names = {p.relative_to(ROOT / "notebooks").as_posix() for p in NOTEBOOKS}
    stages = {f"pipeline/{stage}.ipynb" for stage in ("train", "sample", "evaluate")}
    assert stages | {"00_tour.ipynb", "alice/main_results.ipynb"} <= names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_in_git_are_clean_and_short(path):
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code), "outputs are in git"
    assert "papermill" not in notebook.metadata and all("papermill" not in c.metadata for c in notebook.cells)
    assert "widgets" not in notebook.metadata
    assert parameters_of(path) is not None  # raises unless there is exactly one cell of literals
    assert len(notebook.cells) <= MOST_CELLS
    lines = [line.strip() for cell in code for line in cell.source.splitlines()]
    assert sum(bool(line) and not line.startswith("#") for line in lines) <= MOST_LINES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_import_the_package_only(path):
    allowed = {"alice_repro", "IPython"} | sys.stdlib_module_names
    code = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    for node in ast.walk(ast.parse("\n".join(code))):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] in allowed
