"""The package's layers: imports go downwards only, and the runtime stands without the extras.

cli -> (codec, bench, integrations) -> (guidance, entropy, bitstream, images) -> (sessions, files) -> errors
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "cotam_cli"

BASE = {"errors"}
PARTS = {"guidance", "entropy", "bitstream", "images", "sessions", "files"} | BASE
FACE = {
    "__init__",
    "api",
    "codec",
    "processes",
} | PARTS  # `cotam_cli.encode` and its like, which stand on the codec

MAY_IMPORT = {
    "errors": set(),
    "processes": set(),
    "files": BASE,
    "sessions": BASE,
    "guidance": BASE | {"sessions"},
    "entropy": BASE,
    "bitstream": BASE,
    "images": BASE,
    "codec": PARTS,
    "api": PARTS | {"codec"},
    "__init__": {"api", "errors"},
    "bench": FACE,
    "integrations": FACE,
    "cli": FACE | {"bench", "integrations"},
    "__main__": {"cli"},
    "pillow": {"integrations"},
    "training": FACE | {"bench", "integrations", "cli"},
}
"""Folder or module at the top of the package -> those that it may import, beside itself."""

FORBIDDEN = {"torch", "torchvision", "compressai", "open_clip", "matplotlib", "pickle"}

LAZY = {
    ("bench", "torch"),
    ("bench", "compressai"),
    ("bench", "open_clip"),
    ("guidance", "open_clip"),
    ("integrations", "torch"),
}
"""Extras that a folder may import inside a function, where they are asked for."""

NEEDS_TORCH = {"guidance/torch_vit.py"}
"""Modules of the runtime that stand on PyTorch whole; others import them inside functions only."""


def part_of(path):
    """The folder or module at the top of the package in which a file lies."""
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported(path):
    """(module, at the top level) for each import of a file, relative and nested ones too."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    nested = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    package = ("cotam_cli", *path.relative_to(SOURCE).parts[:-1])
    for node in ast.walk(tree):
        top = id(node) not in nested
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*start, *([node.module] if node.module else [])])
            if module == "cotam_cli":  # `from cotam_cli import codec` or `import encode`
                yield from ((f"cotam_cli.{alias.name}", top) for alias in node.names)
            else:
                yield module, top


def target_of(module):
    """The part of this package that an imported module belongs to, None for other packages."""
    names = module.split(".")
    if names[0] != "cotam_cli":
        return None
    return names[1] if len(names) > 1 and names[1] in MAY_IMPORT else "__init__"


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_go_downwards_only(path):
    part = part_of(path)
    assert part in MAY_IMPORT, f"{part} is new: give it a place in MAY_IMPORT"
    for module, _ in imported(path):
        target = target_of(module)
        assert target in {None, part} | MAY_IMPORT[part], f"{part} must not import {module}"


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in FILES
        if part_of(path) != "training" and path.relative_to(SOURCE).as_posix() not in NEEDS_TORCH
    ],
    ids=lambda path: path.relative_to(SOURCE).as_posix(),
)
def test_the_runtime_needs_no_extra(path):
    heavy = {"cotam_cli." + name.removesuffix(".py").replace("/", ".") for name in NEEDS_TORCH}
    for module, top in imported(path):
        library = module.split(".")[0]
        lazy = not top and (part_of(path), library) in LAZY
        assert lazy or library not in FORBIDDEN, f"{path.name} imports {module}"
        assert not top or module not in heavy, f"{path.name} imports {module}, which needs torch, at its top"


def test_the_reader_of_imports_sees_every_kind(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    path = tmp_path / "codec" / "sample.py"
    path.parent.mkdir()
    path.write_text(
        "import torch.nn as nn\nfrom cotam_cli import entropy\n"
        "from . import quality\nfrom ..images import reading\n"
        "def later():\n    from cotam_cli.training.loop import run\n"
    )
    assert list(imported(path)) == [
        ("torch.nn", True),
        ("cotam_cli.entropy", True),
        ("cotam_cli.codec", True),
        ("cotam_cli.images", True),
        ("cotam_cli.training.loop", False),
    ]


NO_NETWORK = {
    "cli",
    "codec",
    "entropy",
    "bitstream",
    "images",
    "errors",
    "sessions",
    "api",
    "__init__",
    "__main__",
    "pillow",
}
"""What decodes and encodes: it opens no connection, so it downloads no model."""

NETWORK = {
    "socket",
    "ssl",
    "http",
    "urllib",
    "ftplib",
    "requests",
    "httpx",
    "httpx2",
    "aiohttp",
    "huggingface_hub",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_nothing_is_unpickled_or_run_as_code(path):
    if part_of(path) == "training":
        pytest.skip("not in use when pictures are coded")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else None
            assert name not in {"eval", "exec", "compile", "__import__"}, f"line {node.lineno}"
            loads = ast.unparse(node.func) in {"np.load", "numpy.load"}
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert not loads or given.get("allow_pickle") == "False", f"line {node.lineno}"
            assert given.get("shell", "False") == "False", f"line {node.lineno}"
    modules = {module.split(".")[0] for module, _ in imported(path)}
    assert not modules & {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
    if part_of(path) in NO_NETWORK and path.name != "gateway.py":
        assert not modules & NETWORK


def test_coding_needs_no_network():
    """With sockets that cannot be made, a picture is coded and decoded."""
    script = (
        "import socket\n"
        "def none(*_, **__): raise OSError('no network')\n"
        "socket.socket = socket.create_connection = socket.getaddrinfo = none\n"
        "import cotam_cli\nfrom PIL import Image\n"
        "print(cotam_cli.decode(cotam_cli.encode(Image.new('RGB', (20, 20)))).size)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "(20, 20)\n", done.stderr
