"""Registries: plug-ins register themselves, names are unique, an unknown one says what there is."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.codecs.base import FAMILIES
from harness.errors import UserError
from harness.lowerings.base import LOWERINGS
from harness.platforms.base import PLATFORMS
from harness.registry import Registry


@dataclass(frozen=True)
class Item:
    name: str


def plugins(folder: Path, monkeypatch: pytest.MonkeyPatch, package: str, *files: str) -> str:
    """A package of plug-ins on disk, one item a file."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text("")
    (folder / package / "base.py").write_text(
        "from dataclasses import dataclass\nfrom harness.registry import Registry\n"
        f"@dataclass(frozen=True)\nclass Item:\n    name: str\nITEMS = Registry('thing', '{package}')\n"
    )
    for file in files:
        (folder / package / f"{file}.py").write_text(
            f"from {package}.base import ITEMS, Item\nITEMS.register(Item('{file}'))\n"
        )
    monkeypatch.syspath_prepend(folder)
    return package


def test_a_plugin_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins(tmp_path, monkeypatch, "crosscheck_things", "zebra", "ant")
    from crosscheck_things.base import ITEMS  # noqa: PLC0415 - it exists only now

    assert ITEMS.names() == ["ant", "zebra"]
    assert [item.name for item in ITEMS] == ["ant", "zebra"]
    assert ITEMS["ant"].name == "ant"


def test_an_unknown_name_says_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins(tmp_path, monkeypatch, "crosscheck_others", "ant", "bee")
    from crosscheck_others.base import ITEMS  # noqa: PLC0415

    with pytest.raises(UserError, match=r"no thing named 'cat'; known: ant, bee"):
        ITEMS["cat"]


def test_a_name_is_registered_once() -> None:
    registry: Registry[Item] = Registry("thing", "harness.torch_ops")
    assert registry.register(Item("a")) == Item("a")
    with pytest.raises(ValueError, match="registered twice"):
        registry.register(Item("a"))


@pytest.mark.parametrize(
    "registry", [FAMILIES, LOWERINGS, PLATFORMS], ids=["codec", "lowering", "platform"]
)
def test_what_ships_is_found_under_its_own_name(registry: Registry[Item]) -> None:
    names = registry.names()
    assert names == sorted(set(names)) != []
    assert [registry[name].name for name in names] == names


def test_listing_platforms_imports_no_runtime() -> None:
    """`crosscheck platforms` and every child start from here: a runtime belongs to its own child only."""
    code = (
        "import sys; from harness.platforms.base import PLATFORMS; PLATFORMS.names(); "
        "print(sorted({'torch', 'onnxruntime', 'onnx', 'compressai'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
