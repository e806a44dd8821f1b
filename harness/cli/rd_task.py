"""The work of `crosscheck rd`, with its progress bar: JPEG, rate points, searches. Imported only when there is work."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.progress import Progress, TaskID

from harness.build import Build
from harness.cells import platform_runner
from harness.cli.app import progress_bar
from harness.endpoints import Run
from harness.errors import UserError
from harness.images import read_image
from harness.jpeg import jpeg_curve, jpeg_sweep
from harness.library import Library
from harness.measure import Measurements
from harness.narrowest import Unbuildable, narrowest
from harness.platforms.pool import Pool
from harness.rd import ANCHOR, OWN_CALIBRATOR, BdRate, JpegPoint, Search, Study, Variant
from harness.rd_study import bd_rates, study


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is measured, and how. The codecs' own calibrations are of `shipped`, those asked for by name of `library`."""

    library: Library
    shipped: Library
    names: Sequence[str]
    pictures: Sequence[Path]
    lowering: str | None
    bd_method: str
    jobs: int

    def run(
        self,
        chosen: Sequence[Variant],
        scopes: Sequence[str],
        calibrators: Sequence[str],
        platform: str,
        budget: float | None,
    ) -> tuple[Study, Mapping[str, str]]:
        """The study of `chosen`, with a search of each scope and calibrator if there is a budget; what really ran."""
        with progress_bar() as bar:
            self._build_all(bar, chosen)
            with Runners(platform) as runners, ThreadPoolExecutor(self.jobs) as executor:
                record = runners.environment()
                measured = Measurements(
                    build=self.build, runner=runners, pictures=self.pictures, each=executor.map
                )
                jpeg = self._jpeg(bar)
                total = measured.missing(self.names, chosen)
                task = bar.add_task("rate points", total=total, now="")
                points = measured.points(self.names, chosen, _advance(bar, task))
                bar.update(task, now="")
                searches = [
                    search
                    for scope in scopes
                    for calibrator in calibrators
                    if budget is not None
                    for search in self._search(bar, measured, scope, calibrator, budget)
                ]
        return study(points, jpeg, self.bd_method, searches), record

    def build(self, name: str, variant: Variant) -> Build:
        own = variant.calibrator == OWN_CALIBRATOR
        return (self.shipped if own else self.library).build(
            name,
            variant.precision,
            None if variant == ANCHOR else self.lowering,
            scope=variant.scope,
            calibrator=None if own else variant.calibrator,
        )

    def _build_all(self, bar: Progress, chosen: Sequence[Variant]) -> None:
        """What cannot be built ends here, not after an hour; calibrators may take their time."""
        task = bar.add_task("builds", total=len(self.names) * len(chosen), now="")
        for name in self.names:
            for variant in chosen:
                bar.update(task, now=f"{name} {variant.label}")
                self.build(name, variant)
                bar.advance(task)
        bar.update(task, now="")

    def _jpeg(self, bar: Progress) -> tuple[JpegPoint, ...]:
        sweeps = []
        task = bar.add_task("jpeg", total=len(self.pictures), now="")
        for path in self.pictures:
            bar.update(task, now=path.name)
            sweeps.append(jpeg_sweep(path.name, read_image(path)))
            bar.advance(task)
        bar.update(task, now="")
        return jpeg_curve(sweeps)

    def _search(
        self, bar: Progress, measured: Measurements, scope: str, calibrator: str, budget: float
    ) -> tuple[Search, ...]:
        def cost(variant: Variant) -> Sequence[BdRate]:
            try:
                for name in self.names:
                    self.build(name, variant)
            except UserError as error:
                raise Unbuildable(str(error)) from error
            pair = [ANCHOR, variant]
            total = measured.missing(self.names, pair)
            bar.reset(task, total=total, description=f"narrowest: {variant.label}")
            points = measured.points(self.names, pair, _advance(bar, task), by_ms_ssim=False)
            return bd_rates(points, self.bd_method)

        task = bar.add_task("narrowest", total=None, now="")
        return narrowest(cost, budget, scope=scope, calibrator=calibrator)


class Runners:
    """Runners on one platform with children of each thread's own: threads do not wait for each other's."""

    def __init__(self, platform: str) -> None:
        self._platform = platform
        self._of_thread = threading.local()
        self._pools = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pools.close()

    def __call__(self) -> Run:
        return self.on(self._platform)

    def on(self, platform: str) -> Run:
        """On another platform, beside this thread's children."""
        return platform_runner(self._pool(), platform)

    def environment(self) -> Mapping[str, str]:
        return self._pool().child(self._platform).environment()

    def _pool(self) -> Pool:
        if not hasattr(self._of_thread, "pool"):
            self._of_thread.pool = self._pools.enter_context(Pool())
        pool: Pool = self._of_thread.pool
        return pool


def _advance(bar: Progress, task: TaskID) -> Callable[[str], None]:
    return lambda name: bar.update(task, advance=1, now=name)
