"""The work of `crosscheck study ssf`, with its progress bar. Imported only when there is work."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from rich.progress import Progress

from harness.calibrators.base import Granularity
from harness.cells import platform_runner
from harness.cli.app import progress_bar
from harness.cli.rd_task import Runners
from harness.clip_rd import ClipBdRate, ClipPoint, ClipStudy, Drift, Mismatch
from harness.footage.base import Clip
from harness.platforms.pool import Pool
from harness.rd import ANCHOR, OWN_CALIBRATOR, Variant
from harness.video import study
from harness.video.bd_rates import bd_rates, mirrored_bd_rates
from harness.video.build import VideoBuild
from harness.video.cost import hyper_costs
from harness.video.library import VideoLibrary
from harness.video.open_loop import open_loop

PER_TENSOR = ":tensor"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is measured, and how; `calibrate`: clips for calibrators that do not ship.

    `mirrorings`: ways in which each clip is coded with the codecs' own calibrations, 1 for as it is.
    """

    names: Sequence[str]
    clips: Sequence[Clip]
    calibrate: Sequence[Clip] | None
    platform: str
    bd_method: str
    jobs: int
    mirrorings: int = 1

    def run(
        self,
        chosen: Sequence[Variant],
        drift_codec: str,
        drifting: Sequence[Variant],
        decoders: Sequence[str],
    ) -> tuple[ClipStudy, Mapping[str, str]]:
        """The study, and what really ran."""
        with progress_bar() as bar, Pool() as pool:
            libraries = _Libraries(self, pool)
            builds = self._builds(bar, libraries, chosen)
            drifting_builds = [
                (variant, libraries.build(drift_codec, variant))
                for variant in (drifting if decoders else ())
            ]
            with (
                Runners(self.platform) as runners,
                ThreadPoolExecutor(self.jobs) as executor,
            ):
                record = runners.environment()
                work = _Measuring(task=self, bar=bar, runners=runners, executor=executor)
                every = work.points(builds)
                open_points = work.open_points(builds)
                pairs = work.drifts(drifting_builds, decoders)
        codec = libraries.own.codec(self.names[-1])
        drifts = [drift for drift, _ in pairs]
        points = [point for point in every if not point.mirroring]
        anchors = [p for p in points if p.variant == ANCHOR and not p.intra]
        precisions = list(dict.fromkeys(v.precision for v in chosen))
        first = self.clips[0]
        return ClipStudy(
            points=tuple(points),
            bd_rates=tuple(bd_rates(points, self.bd_method)),
            intra_shares=tuple(study.intra_shares(points)),
            drifts=tuple(drifts),
            mismatches=tuple(mismatch for _, mismatch in pairs if mismatch is not None),
            costs=tuple(hyper_costs(codec, precisions, (first.height, first.width))),
            problems=tuple(study.problems(points, drifts)),
            notes=(),
            open_points=tuple(open_points),
            open_bd_rates=tuple(bd_rates([*anchors, *open_points], self.bd_method)),
            mirrored_points=tuple(point for point in every if point.mirroring),
            mirrored_bd_rates=tuple(self._mirrored_bd_rates(every)),
        ), record

    def _mirrored_bd_rates(self, points: Sequence[ClipPoint]) -> list[ClipBdRate]:
        if self.mirrorings == 1:
            return []
        own = [p for p in points if p.variant.calibrator == OWN_CALIBRATOR]
        return mirrored_bd_rates(own, self.bd_method)

    def _builds(
        self, bar: Progress, libraries: "_Libraries", chosen: Sequence[Variant]
    ) -> list[tuple[Variant, VideoBuild]]:
        """What cannot be built ends here, not after an hour."""
        task = bar.add_task("builds", total=len(self.names) * len(chosen), now="")
        found = []
        for name in self.names:
            for variant in chosen:
                bar.update(task, now=f"{name} {variant.label}")
                found.append((variant, libraries.build(name, variant)))
                bar.advance(task)
        bar.update(task, now="")
        return found


@dataclass(frozen=True, kw_only=True)
class _Measuring:
    """What a task measures, once everything is built: a bar on the screen for each kind of work."""

    task: Task
    bar: Progress
    runners: Runners
    executor: Executor

    def points(self, builds: Sequence[tuple[Variant, VideoBuild]]) -> list[ClipPoint]:
        jobs = [
            (
                study.Coding(
                    made=made, variant=variant, clip=clip.mirrored(number), mirroring=number
                ),
                intra,
            )
            for number in range(self.task.mirrorings)
            for variant, made in builds
            if not number or variant.calibrator == OWN_CALIBRATOR
            for clip in self.task.clips
            for intra in ([False, True] if variant == ANCHOR and not number else [False])
        ]
        frames = [coding.clip.frames for coding, _ in jobs]
        total = sum(n for n in frames if n is not None) if all(frames) else None
        shown = self.bar.add_task("frames", total=total, now="")

        def work(job: tuple[study.Coding, bool]) -> ClipPoint:
            coding, intra = job
            now = f"{coding.made.codec.name} {coding.variant.label} {coding.clip.name}"
            self.bar.update(shown, now=now)
            return study.measure(
                coding, self.runners(), partial(self.bar.advance, shown), intra=intra
            )

        points = list(self.executor.map(work, jobs))
        self.bar.update(shown, now="")
        return points

    def open_points(self, builds: Sequence[tuple[Variant, VideoBuild]]) -> list[ClipPoint]:
        """Of the codecs' own calibrations, each codec and clip in one go."""
        by_codec: dict[str, list[tuple[Variant, VideoBuild]]] = {}
        for variant, made in builds:
            if variant.calibrator == OWN_CALIBRATOR:
                by_codec.setdefault(made.codec.name, []).append((variant, made))
        jobs = [(found, clip) for found in by_codec.values() for clip in self.task.clips]
        shown = self.bar.add_task("open loop", total=len(jobs), now="")

        def work(job: tuple[list[tuple[Variant, VideoBuild]], Clip]) -> list[ClipPoint]:
            found, clip = job
            anchor = next(made for variant, made in found if variant == ANCHOR)
            codings = [
                study.Coding(made=made, variant=variant, clip=clip)
                for variant, made in found
                if variant != ANCHOR
            ]
            self.bar.update(shown, now=f"{anchor.codec.name} {clip.name}")
            points = open_loop(anchor, codings, self.runners(), lambda: None) if codings else []
            self.bar.advance(shown)
            return points

        return [point for points in self.executor.map(work, jobs) for point in points]

    def drifts(
        self, builds: Sequence[tuple[Variant, VideoBuild]], decoders: Sequence[str]
    ) -> list[tuple[Drift, Mismatch | None]]:
        # Beside the worst frame of the first variant, fp32 as a rule, the same frame of the others.
        worst: dict[tuple[str, str], int] = {}
        ends = [(decoder, clip) for decoder in decoders for clip in self.task.clips]
        total = len(builds) * len(ends)
        shown = self.bar.add_task("drift", total=total, now="") if total else None

        def work(job: tuple[Variant, VideoBuild, str, Clip]) -> tuple[Drift, Mismatch | None]:
            variant, made, decoder, clip = job
            assert shown is not None
            self.bar.update(shown, now=f"{variant.label} {decoder} {clip.name}")
            pair = study.Pair(
                encoder=self.task.platform,
                decoder=decoder,
                encode=self.runners(),
                decode=self.runners.on(decoder),
            )
            coding = study.Coding(made=made, variant=variant, clip=clip)
            found = study.drift(coding, pair, lambda: None, at=worst.get((decoder, clip.name)))
            self.bar.advance(shown)
            return found

        found: list[tuple[Drift, Mismatch | None]] = []
        for variant, made in builds:
            these = list(self.executor.map(work, [(variant, made, *end) for end in ends]))
            for _, mismatch in these:
                if mismatch is not None:
                    worst.setdefault((mismatch.decoder, mismatch.clip), mismatch.frame)
            found += these
        return found


class _Libraries:
    """What ships, and what is calibrated here: per channel, or per tensor where a calibrator's name ends in `:tensor`."""

    def __init__(self, task: Task, pool: Pool) -> None:
        self.own = VideoLibrary()
        self._made: dict[str, VideoLibrary] = {}
        self._task, self._pool = task, pool

    def build(self, name: str, variant: Variant) -> VideoBuild:
        if variant.calibrator == OWN_CALIBRATOR:
            return self.own.build(name, variant.precision, scope=variant.scope)
        rule, tensor, _ = variant.calibrator.partition(PER_TENSOR)
        library = self._library(tensor)
        return library.build(name, variant.precision, scope=variant.scope, calibrator=rule)

    def _library(self, granularity: str) -> VideoLibrary:
        if granularity not in self._made:
            clips = self._task.calibrate
            self._made[granularity] = VideoLibrary(
                calibrate_on=None if clips is None else lambda: clips,
                run=platform_runner(self._pool, self._task.platform),
                granularity=Granularity(weights="tensor", activations="tensor")
                if granularity
                else Granularity(),
            )
        return self._made[granularity]
