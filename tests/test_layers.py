"""The house: which package may import which, no circles, and maps that name every file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from jojo.files import ROOT

# Each imports only what stands before it; the verbs at the root and in data/ come last.
ORDER = (
    *("model", "tokenizer"),
    *("jojo.command", "jojo.files", "jojo.device"),
    *("jojo.text", "jojo.web", "jojo.data", "jojo.models"),
    *("jojo.chat", "jojo.train", "jojo.export", "jojo.measure"),
)
FOUNDATION = {"model", "tokenizer"}
VERBS = {p.stem for p in ROOT.glob("*.py")} - FOUNDATION
MACHINERY = sorted((ROOT / "jojo").rglob("*.py"))
RECIPES = sorted((ROOT / "data").glob("*.py"))
HEAVY = ("torch", "numpy", "tiktoken", "datasets", "matplotlib", "transformers", "pydantic")


def imports(path) -> set[str]:
    """Modules that a file imports, wherever in it, also for type checkers alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in names if _file_of(name).exists()}
            found |= modules | ({node.module} if len(modules) < len(names) else set())
    return found


def _file_of(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"


def _package(module: str) -> str | None:
    """Where in ORDER a module stands."""
    name = ".".join(module.split(".")[:2])
    return name if name in ORDER else None


def _module(path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_every_package_stands_in_the_one_list():
    found = {f"jojo.{p.stem}" for p in (ROOT / "jojo").glob("[!_]*") if p.suffix in ("", ".py")}
    assert found | FOUNDATION == set(ORDER)


def test_imports_go_up_the_list():
    for path in [*(ROOT / f"{name}.py" for name in FOUNDATION), *MACHINERY]:
        own = _package(_module(path))
        for name in imports(path):
            if own and (other := _package(name)):
                assert ORDER.index(other) <= ORDER.index(own), f"{path} imports {name}"


def test_no_module_imports_itself_on_any_way():
    edges = {_module(path): {n for n in imports(path) if _package(n)} for path in MACHINERY}
    TopologicalSorter(edges).prepare()  # CycleError names the circle


def test_the_machinery_never_imports_a_verb():
    for path in MACHINERY:
        assert not {name.split(".")[0] for name in imports(path)} & VERBS, path


def test_verbs_and_recipes_never_import_each_other():
    for path in [*(ROOT / f"{v}.py" for v in VERBS), *RECIPES]:
        assert not {name.split(".")[0] for name in imports(path)} & VERBS, path


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


def test_every_package_is_its_own_map():
    for path in (ROOT / "jojo").rglob("__init__.py"):
        (doc,) = ast.parse(path.read_text(encoding="utf-8")).body  # and nothing else
        named = re.findall(r"^([\w/]+(?:\.py|/))  ", doc.value.value, re.MULTILINE)
        inside = [p for p in path.parent.glob("[!_]*")]
        assert sorted(named) == sorted(p.name if p.is_file() else f"{p.name}/" for p in inside), (
            path
        )


def test_the_readme_names_what_stands_at_the_root_and_every_package():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tracked = ["git", "ls-files", "*.py", "*.toml", "Makefile", "*.md"]
    found = subprocess.run(tracked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in found.split():
        if not name.startswith(("tests/", "jojo/", "docs/", "data/prepare-")):
            assert name.rsplit("/", 1)[-1] in readme, f"the README's map does not name {name}"
    for package in ORDER[5:]:
        assert f"{package.split('.')[1]}/" in readme, f"the README's map does not name {package}"
