"""What is to be trained: a recipe (TOML) names a family, its widths and its rate points."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.training.optimizers import ADAM, MUON


@dataclass(frozen=True, kw_only=True)
class Point:
    """One rate point of a recipe. `lmbda` weighs 255^2 * MSE against bits per pixel, `m` is its own width.

    A point that does not ship is a start for others. `frozen`: first parts of the names of parameters that stay as they are.
    `gain`: what latents of the weights it starts from are multiplied by. `chain`: of clips, P frames alone are learned from,
    in chains of so many. `parts_from`: parameters whose names begin so come from that point instead, without a gain.
    """

    quality: int
    m: int
    lmbda: float
    steps: int
    learning_rate: float
    start_from: int | None = None
    ships: bool = True
    frozen: tuple[str, ...] = ()
    gain: float = 1.0
    chain: int = 0
    parts_from: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    family: str
    n: int
    seed: int
    points: tuple[Point, ...]
    optimizer: str = ADAM


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; a wrong or missing field is a UserError that names it."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        points = tuple(Point(**point) for point in raw.pop("points"))
        for point in points:
            _check_fields(point)
        points = tuple(replace(point, frozen=tuple(point.frozen)) for point in points)
        recipe = Recipe(points=points, **raw)
        _check_fields(recipe)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"recipe {path}: {error}") from error
    known: set[int] = set()
    for point in recipe.points:
        if point.quality in known:
            raise UserError(f"recipe {path}: there are two points q{point.quality}")
        for start in (point.start_from, *point.parts_from.values()):
            if start is not None and start not in known:
                raise UserError(
                    f"recipe {path}: q{point.quality} starts from q{start}, which is not before it"
                )
        known.add(point.quality)
    return recipe


def _check_fields(part: Recipe | Point) -> None:
    """Numbers are numbers of their kind and not below 1 (a rate above 0, a quality and a seed from 0)."""
    kinds: dict[str, Any] = {
        "family": str,
        "optimizer": str,
        "points": tuple,
        "frozen": list | tuple,
        "ships": bool,
        "start_from": int | None,
        "parts_from": dict,
    }
    kinds |= dict.fromkeys(("lmbda", "learning_rate", "gain"), int | float)
    for name, value in vars(part).items():
        is_truth = isinstance(value, bool)
        right = isinstance(value, kinds.get(name, int)) and is_truth == (name == "ships")
        if name == "frozen" and right:
            right = all(isinstance(prefix, str) and prefix for prefix in value)
        if name == "parts_from" and right:
            right = all(type(start) is int for start in value.values())
        if not right or (name == "points" and not value):
            raise TypeError(f"{name} cannot be {value!r}")
        if name == "optimizer" and value not in {ADAM, MUON}:
            raise ValueError(f"{name} is {ADAM} or {MUON}, not {value!r}")
        if name == "chain" and value < 0:
            raise ValueError(f"{name} must not be below 0, not {value!r}")
        if name in {"n", "m", "steps", "lmbda", "learning_rate", "gain"} and value <= 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")
