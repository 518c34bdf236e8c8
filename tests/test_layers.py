"""Who may import whom: core ← data ← experiments ← book ← command line."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("core", "data", "experiments", "book", "cli")
CORE_NEEDS = {"torch", "numpy", "sklearn"}
GUESTS = {"miner.py": {"pytorch_metric_learning"}}  # an extra, and only there


def layer(parts: tuple[str, ...]) -> str:
    """Of a file or a module below the package, by the first part of its name."""
    first = parts[0].removesuffix(".py") if parts else "__init__"
    return {"__main__": "cli"}.get(first, first if first in LAYERS else "core")


def imported(path: Path) -> list[str]:
    """Every module or name that a file imports, lazily or for types too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write the whole name, not a relative one"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def forbidden(package: Path) -> list[str]:
    """Imports from a layer further right, and what the core may not need."""
    found = []
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        own = layer(file.parts)
        for name in imported(path):
            first, *rest = name.split(".")
            if first == package.name:
                wrong = LAYERS.index(layer(tuple(rest))) > LAYERS.index(own)
            else:
                allowed = CORE_NEEDS | GUESTS.get(file.name, set())
                wrong = own == "core" and first not in {
                    *allowed,
                    *sys.stdlib_module_names,
                }
            if wrong:
                found.append(f"{file.as_posix()} ({own}) imports {name}")
    return found


def needs(package: Path) -> dict[str, set[str]]:
    """Module → the modules of the package that it imports."""
    modules = {}
    for path in package.rglob("*.py"):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        modules[".".join(parts).removesuffix(".__init__")] = path
    found = {}
    for module, path in modules.items():
        others = {n if n in modules else n.rpartition(".")[0] for n in imported(path)}
        found[module] = (others & modules.keys()) - {module}
    return found


def in_circles(package: Path) -> set[str]:
    """Modules that need, by way of others, what needs them."""
    left = needs(package)
    while free := {module for module, others in left.items() if not others & {*left}}:
        left = {module: left[module] for module in left.keys() - free}
    return {*left}


def test_no_file_imports_from_a_layer_further_right():
    assert forbidden(ROOT / "qsel") == []


def test_no_two_files_need_each_other():
    assert not in_circles(ROOT / "qsel")


@pytest.mark.parametrize(
    ("file", "line", "wrong"),
    [
        ("losses.py", "from made.data import images", True),
        ("losses.py", "def f():\n    import made.experiments.config", True),
        ("losses.py", "if TYPE_CHECKING:\n    from made.book import pages", True),
        ("losses.py", "import pandas as pd", True),
        ("losses.py", "import pytorch_metric_learning", True),
        ("miner.py", "import pytorch_metric_learning", False),
        ("losses.py", "import math, torch\nfrom made import hierarchy", False),
        ("data/images.py", "from made.losses import global_loss\nimport PIL", False),
        ("data/images.py", "from made.experiments.config import Config", True),
        ("experiments/run.py", "from made.book.figures import style", True),
        ("book/figures/maps.py", "from made.cli import main", True),
        ("cli/book.py", "from made.cli.options import Data", False),
        ("book/figures/maps.py", "from made.experiments import run", False),
        ("__init__.py", "from made.book import pages", True),
        ("__main__.py", "from made.cli import main", False),
    ],
)
def test_the_rule_on_a_made_up_package(tmp_path, file, line, wrong):
    path = tmp_path / "made" / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert bool(forbidden(tmp_path / "made")) == wrong


def test_a_circle_is_found(tmp_path):
    (tmp_path / "one.py").write_text(f"def f():\n    import {tmp_path.name}.two")
    (tmp_path / "two.py").write_text(f"from {tmp_path.name} import one")
    (tmp_path / "three.py").write_text(f"from {tmp_path.name}.two import f")
    names = {f"{tmp_path.name}.{name}" for name in ("one", "two", "three")}
    assert in_circles(tmp_path) == names
