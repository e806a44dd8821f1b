"""Copy the evidence of real runs to reports/published/ and the README: `make publish DATA=folder`.

Reads reports/default (a finished default run), reports/platforms (a finished run of that suite, where there is one) and
reports/bench.txt (what `make bench` printed). `publish.py platforms` copies the matrix of platforms alone, `publish.py ssf`
puts the tables of reports/published/ssf (`make study`) and reports/bench-video.txt (`make bench-video`) into the README.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from harness.report import load
from harness.report.headline import headline, statements
from harness.report.page import percent
from harness.report.platforms_markdown import to_platforms_markdown

ROOT = Path(__file__).parent
PUBLISHED = ROOT / "published"


def main() -> None:
    PUBLISHED.mkdir(exist_ok=True)
    results = load(ROOT / "default" / "results.json")
    figures = ROOT / "default" / "figures"
    shutil.copy(figures / "matrix.png", PUBLISHED / "matrix.png")
    shutil.copy(ROOT / "default" / "summary.md", PUBLISHED / "summary.md")
    broken = next(f for f in results["figures"] if "/fp32/" in f["case"])
    pair = "/".join(broken["case"].split("/")[-2:])
    held = next(
        f
        for f in results["figures"]
        if "/w8a8/" in f["case"]
        and f["case"].endswith(pair)
        and f["case"].split("/")[:2] == broken["case"].split("/")[:2]
    )
    for figure, name in ((broken, "fp32-broken"), (held, "w8a8-identical")):
        shutil.copy(figures / f"{figure['name']}.png", PUBLISHED / f"{name}.png")
    machine = results["environment"]["ort-cpu"]
    lines = [
        f"`crosscheck run default` on {machine['cpu']} ({machine['cpu_flags']}), {machine['runtime']},",
        f"{results['environment']['torch']['runtime']}, Python {machine['python']}:",
        "",
        f"- {headline(results)}.",
        *(f"- {line}" for line in statements(results)),
        "",
        f"The figures show `{broken['case']}` and `{held['case']}`;",
        "the whole table is in [`reports/published/summary.md`](reports/published/summary.md).",
    ]
    readme = ROOT.parent / "README.md"
    text = _between(readme.read_text(encoding="utf-8"), "figures", "\n".join(lines))
    bench = ROOT / "bench.txt"
    if bench.is_file():
        text = _between(text, "bench", f"```\n{bench.read_text(encoding='utf-8').rstrip()}\n```")
    text = _between(text, "rd", bd_rate_table(json.loads((PUBLISHED / "rd.json").read_text())))
    readme.write_text(text, encoding="utf-8")
    if (ROOT / "platforms" / "results.json").is_file():
        platforms()
    print(json.dumps(results["summary"]["by_outcome"], sort_keys=True))


def platforms() -> None:
    """The page and the figure of reports/platforms."""
    PUBLISHED.mkdir(exist_ok=True)
    run = ROOT / "platforms"
    results = load(run / "results.json")
    shutil.copy(run / "figures" / "platforms.png", PUBLISHED / "platforms.png")
    page = to_platforms_markdown(results, "platforms.png")
    (PUBLISHED / "platforms.md").write_text(page, encoding="utf-8")


def ssf() -> None:
    """The BD-rates of the study of video, and P frames beside all-intra coding, in the README."""
    study = json.loads((PUBLISHED / "ssf" / "ssf.json").read_text(encoding="utf-8"))
    clips = list(dict.fromkeys(rate["clip"] for rate in study["bd_rate"]))
    columns = sorted(clips, key=lambda clip: clip != "mean")
    rows = {(r["variant"], r["calibrator"]): {} for r in study["bd_rate"]}
    for rate in study["bd_rate"]:
        rows[rate["variant"], rate["calibrator"]][rate["clip"]] = rate
    mirrored = json.loads((PUBLISHED / "ssf" / "mirrored" / "ssf.json").read_text(encoding="utf-8"))
    opened, drawn = (
        {r["variant"]: r for r in rates if r["clip"] == "mean"}
        for rates in (study["open_loop"]["bd_rate"], mirrored["mirrored"]["bd_rate"])
    )
    lines = [
        f"| variant | calibrator | published | open loop | mirrored | {' | '.join(columns)} |",
        "|---" * (5 + len(columns)) + "|",
    ]
    for (variant, calibrator), found in rows.items():
        published = found["mean"]["published"]
        cells = [
            "" if rate is None else percent(rate["percent"], rate.get("error"))
            for rate in (opened.get(variant), drawn.get(variant), *(found[c] for c in columns))
        ]
        said = "" if published is None else f"{published:g} %"
        lines.append(f"| {variant} | {calibrator} | {said} | {' | '.join(cells)} |")
    main_clip = max(study["points"], key=lambda point: point["frames"])["clip"]
    shares = [
        f"q{share['quality']} {share['share']:.1%}"
        for share in study["intra_shares"]
        if share["clip"] == main_clip and share["share"] is not None
    ]
    lines += ["", f"P frames of {main_clip} take of all-intra coding's bits at equal PSNR: {', '.join(shares)}."]  # fmt: skip
    readme = ROOT.parent / "README.md"
    text = _between(readme.read_text(encoding="utf-8"), "ssf", "\n".join(lines))
    bench = ROOT / "bench-video.txt"
    if bench.is_file():
        timed = bench.read_text(encoding="utf-8").rstrip()
        text = _between(text, "bench-video", f"```\n{timed}\n```")
    readme.write_text(text, encoding="utf-8")


def _reduce(figure: Path) -> None:
    """To a palette of 256 colours: figures with pictures in them take megabytes, and the repository keeps every one."""
    with Image.open(figure) as picture:
        if picture.mode != "P":
            picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
                figure, optimize=True
            )


def bd_rate_table(study: dict[str, Any]) -> str:
    """BD-rate of every variant and family of a study, as a markdown table."""
    families = list(dict.fromkeys(rate["codec"] for rate in study["bd_rate"]))
    variants = list(dict.fromkeys(rate["variant"] for rate in study["bd_rate"]))
    found = {(rate["variant"], rate["codec"]): rate["percent"] for rate in study["bd_rate"]}
    rows = [
        f"| {variant} | "
        + " | ".join(percent(found.get((variant, family))) for family in families)
        + " |"
        for variant in variants
    ]
    head = [
        f"| BD-rate against fp32 | {' | '.join(families)} |",
        "|---" * (1 + len(families)) + "|",
    ]
    return "\n".join([*head, *rows])


def _between(text: str, name: str, content: str) -> str:
    """Replace what stands between the two markers `name`."""
    begin, end = f"<!-- {name}-begin -->", f"<!-- {name}-end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


if __name__ == "__main__":
    if sys.argv[1:] == ["platforms"]:
        platforms()
    elif sys.argv[1:] == ["ssf"]:
        ssf()
    else:
        main()
    for figure in sorted(PUBLISHED.rglob("*.png")):
        _reduce(figure)
