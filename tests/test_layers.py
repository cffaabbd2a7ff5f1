"""The house: which module may import which, and that the README's map names every file."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from jojo.files import ROOT

FOUNDATION = {"model", "tokenizer"}
VERBS = {p.stem for p in ROOT.glob("*.py")} - FOUNDATION
MACHINERY = sorted((ROOT / "jojo").rglob("*.py"))
RECIPES = sorted((ROOT / "data").glob("*.py"))
HEAVY = ("torch", "numpy", "tiktoken", "datasets", "matplotlib", "transformers")


def imports(path) -> set[str]:
    """Top-level names that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module.split(".")[0])
    return found


def test_the_foundation_imports_nothing_of_ours():
    for name in FOUNDATION:
        assert not imports(ROOT / f"{name}.py") & (FOUNDATION | VERBS | {"jojo"}), name


def test_the_machinery_never_imports_a_verb():
    for path in MACHINERY:
        assert not imports(path) & VERBS, path


def test_verbs_and_recipes_never_import_each_other():
    for path in [*(ROOT / f"{v}.py" for v in VERBS), *RECIPES]:
        assert not imports(path) & VERBS, path


def test_nothing_touches_the_import_path_or_unpickles():
    for path in [*ROOT.glob("*.py"), *MACHINERY, *RECIPES]:
        text = path.read_text(encoding="utf-8")
        for word in ("sys.path", "weights_only=False", 'allowed_special="all"', "pickle.load"):
            assert word not in text, f"{path}: {word}"


def test_only_checkpoint_saves_and_loads_tensors():
    for path in [*ROOT.glob("*.py"), *MACHINERY]:
        text = path.read_text(encoding="utf-8")
        if path.name != "checkpoint.py":
            assert "torch.save(" not in text, path
            assert "torch.load(" not in text, path


@pytest.mark.parametrize("path", [*(ROOT / f"{v}.py" for v in sorted(VERBS)), *RECIPES], ids=str)
def test_help_needs_no_heavy_import(path):
    code = (
        "import sys, runpy\n"
        f"sys.argv = [{str(path)!r}, '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(path)!r}, run_name='__main__')\n"
        "except SystemExit as e:\n"
        "    assert not e.code, e.code\n"
        f"heavy = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_verbs_and_recipes_are_short():
    for path in [*(ROOT / f"{v}.py" for v in VERBS), *RECIPES]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 150, path


def test_the_map_names_every_file():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tracked = subprocess.run(
        ["git", "ls-files", "*.py", "*.toml", "Makefile", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in tracked:
        if name.startswith("tests/") or name.endswith("__init__.py"):
            continue
        assert name.rsplit("/", 1)[-1] in readme, f"the README's map does not name {name}"
