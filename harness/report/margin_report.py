"""Margins as files: JSON is the result; the page of markdown and the figure are made of it alone."""

import json
from collections.abc import Mapping, Sequence
from typing import TypedDict

from harness.margin import CONFIDENCE, MEDIAN, WINDOW, CodecMargin, PairMargin, poisson_interval
from harness.report.page import table

__all__ = ["CodecEntry", "MarginResults", "PairEntry", "dumps_margin", "to_margin_results"]
__all__ += ["to_margin_markdown"]

MARGIN_SCHEMA = 1
_MEGA = 10**6
_HOW_DISTANCES = (
    "Distance: the least number of ULPs by which a sigma has to change for another CDF index; of the first platform's"
    " sigmas. A quantile of 1e-3 is exceeded by all but one sigma in a thousand; none where there are too few sigmas."
)
_HOW_ROUNDOFFS = (
    "If every sigma were off by this many ULPs, up or down: flips per megapixel of picture. One flip is enough to"
    " lose a picture."
)
_HOW_PAIRS = (
    "Round-off: |difference| in ULPs between the two platforms' sigmas that are within {window:,} ULPs of a threshold."
    " Predicted: what those differences flip if where a sigma lies within that window has nothing to do with its"
    " round-off; the same as the mean of the flips over all tables whose thresholds are moved by up to {window:,} ULPs."
    " It never looks at the indexes. Measured: indexes that differ, with the exact {confidence:.0%} Poisson interval;"
    " about one pair in {odds:.0f} lies outside of it by chance. Pairs share platforms, so they are not independent."
)


class PairEntry(TypedDict):
    """Two platforms; flips are counts over all pictures, `interval` is of the mean of `measured`."""

    platforms: list[str]
    differing: int
    mean_roundoff: float
    median_roundoff: float
    largest_roundoff: int
    predicted: float
    measured: int
    interval: list[float]
    agrees: bool
    predicted_per_megapixel: float
    measured_per_megapixel: float
    interval_per_megapixel: list[float]


class QuantileEntry(TypedDict):
    share: float
    ulps: int | None


class RoundoffEntry(TypedDict):
    ulps: int
    flips_per_megapixel: float


class CodecEntry(TypedDict):
    codec: str
    elements: int
    megapixels: float
    near: int
    distance: list[QuantileEntry]
    within: list[list[int]]
    roundoffs: list[RoundoffEntry]
    pairs: list[PairEntry]


class MarginResults(TypedDict):
    schema: int
    command: str
    images: list[str]
    window: int
    confidence: float
    environment: dict[str, dict[str, str]]
    codecs: list[CodecEntry]


def to_margin_results(
    margins: Sequence[CodecMargin],
    *,
    command: str,
    images: Sequence[str],
    environment: Mapping[str, Mapping[str, str]],
) -> MarginResults:
    """What margin.json holds; `environment` is of each platform."""
    return {
        "schema": MARGIN_SCHEMA,
        "command": command,
        "images": list(images),
        "window": WINDOW,
        "confidence": CONFIDENCE,
        "environment": {name: dict(record) for name, record in environment.items()},
        "codecs": [_codec(margin) for margin in margins],
    }


def _codec(margin: CodecMargin) -> CodecEntry:
    megapixels = margin.pixels / _MEGA
    return {
        "codec": margin.codec,
        "elements": margin.elements,
        "megapixels": megapixels,
        "near": margin.near,
        "distance": [{"share": share, "ulps": ulps} for share, ulps in margin.quantiles],
        "within": [[ulps, count] for ulps, count in margin.within],
        "roundoffs": [
            {"ulps": ulps, "flips_per_megapixel": _rounded(flips / megapixels)}
            for ulps, flips in margin.roundoffs
        ],
        "pairs": [_pair(pair, megapixels) for pair in margin.pairs],
    }


def _pair(pair: PairMargin, megapixels: float) -> PairEntry:
    low, high = poisson_interval(pair.measured)
    return {
        "platforms": list(pair.platforms),
        "differing": pair.differing,
        "mean_roundoff": _rounded(pair.mean_roundoff),
        "median_roundoff": _rounded(pair.median_roundoff),
        "largest_roundoff": pair.largest_roundoff,
        "predicted": _rounded(pair.predicted),
        "measured": pair.measured,
        "interval": [_rounded(low), _rounded(high)],
        "agrees": low <= pair.predicted <= high,
        "predicted_per_megapixel": _rounded(pair.predicted / megapixels),
        "measured_per_megapixel": _rounded(pair.measured / megapixels),
        "interval_per_megapixel": [_rounded(low / megapixels), _rounded(high / megapixels)],
    }


def _rounded(value: float) -> float:
    return round(value, 6)


def dumps_margin(results: MarginResults) -> str:
    return json.dumps(results, sort_keys=True, indent=2, allow_nan=False) + "\n"


def to_margin_markdown(results: MarginResults, figure: str) -> str:
    """The tables; `figure` is the file name of the picture."""
    codecs = results["codecs"]
    how = _HOW_PAIRS.format(
        window=results["window"],
        confidence=results["confidence"],
        odds=1 / (1 - results["confidence"]),
    )
    sections = [
        "# Margins of FP32 decoders",
        f"`{results['command']}`",
        f"{len(results['images'])} pictures, {_least(codecs):.2f} megapixels.",
        "\n".join(f"- {_summary(entry)}" for entry in codecs),
        f"![margins]({figure})",
        "## Distance of sigma to its nearest threshold",
        _distances(codecs),
        _HOW_DISTANCES,
        "## Flips by a given round-off",
        _roundoffs(codecs),
        _HOW_ROUNDOFFS,
        "## Predicted against measured",
        _pairs(codecs),
        how,
        "## Platforms",
        "\n".join(f"- {_platform(*named)}" for named in results["environment"].items()),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _least(codecs: Sequence[CodecEntry]) -> float:
    return min((entry["megapixels"] for entry in codecs), default=0.0)


def _summary(entry: CodecEntry) -> str:
    pairs = entry["pairs"]
    if not pairs:
        return f"{entry['codec']}: one platform alone, so nothing to compare."
    inside, twice, half = (
        sum(
            low <= factor * pair["predicted"] <= high
            for pair in pairs
            for low, high in [pair["interval"]]
        )
        for factor in (1, 2, 0.5)
    )
    predicted = sum(pair["predicted"] for pair in pairs)
    measured = sum(pair["measured"] for pair in pairs)
    worst = max(pairs, key=lambda pair: pair["predicted_per_megapixel"])
    return (
        f"{entry['codec']}: {predicted:.1f} flips predicted over {len(pairs)} platform pairs,"
        f" {measured} measured. {inside} of the {len(pairs)} predictions lie within the interval of what was measured;"
        f" twice as much would in {twice}, half as much in {half}."
        f" Most at risk: {' and '.join(worst['platforms'])},"
        f" {worst['predicted_per_megapixel']:.3g} flips per megapixel."
    )


def _distances(codecs: Sequence[CodecEntry]) -> str:
    shares = [quantile["share"] for quantile in codecs[0]["distance"]] if codecs else []
    titles = ["median" if share == MEDIAN else f"{share:.0e}" for share in shares]
    rows = [
        [
            entry["codec"],
            f"{entry['elements']:,}",
            f"{entry['megapixels']:.2f}",
            *(
                "none" if (ulps := each["ulps"]) is None else f"{ulps:,}"
                for each in entry["distance"]
            ),
        ]
        for entry in codecs
    ]
    return table(["codec", "sigmas", "megapixels", *titles], rows, words=1)


def _roundoffs(codecs: Sequence[CodecEntry]) -> str:
    if not codecs or not codecs[0]["roundoffs"]:
        return ""
    titles = [f"{each['ulps']:,} ULP" for each in codecs[0]["roundoffs"]]
    rows = [
        [entry["codec"], *(f"{each['flips_per_megapixel']:.3g}" for each in entry["roundoffs"])]
        for entry in codecs
    ]
    return table(["codec", *titles], rows, words=1)


def _pairs(codecs: Sequence[CodecEntry]) -> str:
    head = [
        "codec", "platforms", "differing", "round-off: mean", "median", "largest", "predicted",
        "measured", "predicted per megapixel", "measured per megapixel", "interval", "within",
    ]  # fmt: skip
    rows = [
        [
            entry["codec"],
            " + ".join(pair["platforms"]),
            f"{pair['differing'] / entry['elements']:.1%}",
            f"{pair['mean_roundoff']:.2f}",
            f"{pair['median_roundoff']:g}",
            f"{pair['largest_roundoff']:,}",
            f"{pair['predicted']:.2f}",
            f"{pair['measured']:,}",
            f"{pair['predicted_per_megapixel']:.3g}",
            f"{pair['measured_per_megapixel']:.3g}",
            " to ".join(f"{bound:.3g}" for bound in pair["interval_per_megapixel"]),
            "yes" if pair["agrees"] else "no",
        ]
        for entry in codecs
        for pair in entry["pairs"]
    ]
    return table(head, rows, words=2) if rows else "One platform alone: nothing to compare."


def _platform(name: str, record: Mapping[str, str]) -> str:
    shown = ("runtime", "float_kernel", "cpu", "cpu_flags", "system", "python")
    return f"{name}: " + ", ".join(f"{key} `{record[key]}`" for key in shown if key in record)
