"""Programs of `harness.kit` as one file each, made of the package's own modules: there is no second implementation.

A program needs what it imports, and what that imports; a plug-in package comes along whole, since its registry looks for
its members by itself.
"""

import ast
from pathlib import Path

import harness
from harness import archive
from harness.errors import UserError

ROOT = Path(harness.__file__).parent
RECORDER = "record.pyz"
_MAIN = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("record.pyz needs Python 3.11 or newer; this is " + sys.version.split()[0])

from harness.kit.record import main

sys.exit(main(sys.argv[1:]))
"""


def programs() -> dict[str, bytes]:
    """All that a bundle carries beside its data, by name; equal packages give equal bytes."""
    kit = ROOT / "kit"
    try:
        return {
            RECORDER: recorder(),
            "decode_example.py": (kit / "decode_example.py").read_bytes(),
            "README.md": (kit / "README.md").read_bytes(),
        }
    except OSError as error:
        raise UserError(f"cannot read the package's own files: {error.strerror}") from error


def recorder() -> bytes:
    """`record.pyz`: `python record.pyz x.bundle --platform NAME -o y.trace`."""
    # The comparison comes along: PYTHONPATH=record.pyz python -m harness.kit.compare A B
    found = closure([Path("kit/record.py"), Path("kit/compare.py")])
    members = {f"harness/{path.as_posix()}": (ROOT / path).read_bytes() for path in found}
    return archive.pack({"__main__.py": _MAIN.encode(), **members})


def closure(start: list[Path]) -> list[Path]:
    """The files below `harness` that these modules need, sorted: what they import, wherever they do."""
    found: set[Path] = {Path("__init__.py"), Path("kit/__init__.py")}
    todo = list(start)
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix == ".py":
            todo += _imported(path)
    return sorted(found)


def _imported(path: Path) -> list[Path]:
    """What one module imports of `harness`: a module of it, or all files of a package of it."""
    needed: list[Path] = []
    for node in ast.walk(ast.parse((ROOT / path).read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            layer = rest.partition(".")[0]
            if package != "harness" or not layer:
                continue
            if (ROOT / f"{layer}.py").is_file():
                needed.append(Path(f"{layer}.py"))
            elif layer != "kit":
                needed += [
                    file.relative_to(ROOT)
                    for file in (ROOT / layer).rglob("*")
                    if file.is_file() and "__pycache__" not in file.parts
                ]
    return needed
