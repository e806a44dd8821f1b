"""Copy the evidence of real runs to reports/published/ and the README: `make publish DATA=folder`.

Reads reports/default (a finished default run), reports/platforms (a finished run of that suite, where there is one) and
reports/bench.txt (what `make bench` printed). `publish.py platforms` copies the matrix of platforms alone.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from harness.report import load
from harness.report.headline import headline, statements
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


def bd_rate_table(study: dict[str, Any]) -> str:
    """BD-rate of every variant and family of a study, as a markdown table."""
    families = list(dict.fromkeys(rate["codec"] for rate in study["bd_rate"]))
    variants = list(dict.fromkeys(rate["variant"] for rate in study["bd_rate"]))
    found = {(rate["variant"], rate["codec"]): rate["percent"] for rate in study["bd_rate"]}
    rows = [
        f"| {variant} | "
        + " | ".join(
            "none" if (p := found.get((variant, family))) is None else f"{p:+.3f} %"
            for family in families
        )
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
    else:
        main()
