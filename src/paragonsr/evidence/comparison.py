"""Complete comparison: plans and runs it seed by seed, and keeps its values and page up to date."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from paragonsr.data.lock import claim
from paragonsr.errors import UserError
from paragonsr.evidence.arms import Arm, differing_keys
from paragonsr.evidence.compare_page import compare_page
from paragonsr.evidence.planning import planned
from paragonsr.evidence.progress import Progress
from paragonsr.evidence.results import Results, as_json, results
from paragonsr.evidence.runner import PlannedRun, planned_runs, run_arm
from paragonsr.evidence.verdict import comparison_verdicts
from paragonsr.files import write_atomically
from paragonsr.training.reporting.record import LOCK


def compare(
    arms: Sequence[Arm], seeds: Sequence[int], folder: Path, say: Callable[[str], None], command: str = ""
) -> Results:
    """Train every arm with every seed, or resume it, and write compare.json and compare.html.

    Both are updated whenever all arms have finished another seed.

    Args:
        arms: the arms; the first is the baseline.
        seeds: seeds of the runs.
        folder: folder of the comparison.
        say: receives messages about the plan.
        command: how the user has called it, for the page.

    Raises:
        UserError: a run failed, the folder contains another comparison, or another process is working in it.
        KeyboardInterrupt: raised after the current run has saved its state.
    """
    with _claimed(folder):
        differing = differing_keys(arms)
        arms = planned(arms, folder, say)
        todo = list(planned_runs(arms, seeds, folder))
        progress = Progress(todo)
        ended: list[PlannedRun] = []
        for seed in seeds:
            of_seed = [run for run in todo if run.seed == seed]
            waiting = [run for run in of_seed if not run.done]
            for run in waiting:
                with progress.run(run):
                    run_arm(run, arms[0], progress.tell)
            ended += of_seed
            if waiting and seed != seeds[-1]:
                so_far = results(arms, ended, differing, len(seeds))
                _write(replace(so_far, setting=_setting(arms[0], command)), arms, ended, folder)
                progress.say(f"{len(ended) // len(arms)} of {len(seeds)} seeds done: see {folder / 'compare.html'}")
        found = replace(results(arms, todo, differing, len(seeds)), setting=_setting(arms[0], command))
        _write(found, arms, todo, folder)
        return found


def _write(found: Results, arms: Sequence[Arm], ended: Sequence[PlannedRun], folder: Path) -> None:
    write_atomically(folder / "compare.json", as_json(found, comparison_verdicts(found)).encode())
    write_atomically(folder / "compare.html", compare_page(found, arms, ended).encode())


def _setting(first: Arm, command: str) -> dict[str, str]:
    """Budget and images, which all arms share unless the user has allowed otherwise, and the command."""
    config = first.config
    roots = {
        phase: ", ".join(map(str, options.hr_roots)) for phase, options in config.datasets.items() if options.hr_roots
    }
    given = {f"images for {phase}": shown for phase, shown in roots.items()}
    return {"budget": f"{config.train.total_iter:,} iterations for each run", **given, "command": command}


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Lock the folder against other comparisons."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = claim(folder / LOCK)
    except OSError as error:
        raise UserError(
            f"the folder of the comparison cannot be written: {error.strerror}",
            where=str(folder),
            fix="Choose another --out.",
        ) from None
    if handle is None:
        raise UserError(
            "another comparison is running in this folder",
            where=str(folder),
            fix="Wait until it ends, or choose another --out.",
        )
    try:
        yield
    finally:
        os.close(handle)
