"""What becomes of runs that something happens to: kills, a full disk, damaged files, company.

Run from the root of the repository:

    .venv/bin/python -m benchmarks.faults kills [--runs 100] [--config digits|network] [--engine none|local]
        [--override a.b=value ...]
    .venv/bin/python -m benchmarks.faults full-disk [--sizes 40] [--config network|classical]
    .venv/bin/python -m benchmarks.faults flips [--count 200] [--others 10] [--config network|classical]
    .venv/bin/python -m benchmarks.faults crowd [--config network|classical]

`kills` runs configs/digits.yaml, or a small config, in processes of its own; the others run a small config in forks of
this process, which has imported what takes long. `full-disk` mounts filesystems in memory where it is root. The exit
code is 1 where anything is not as docs/faults.md says.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.fault_crowd import crowd
from benchmarks.fault_disk import MountRefusedError, fill_disks
from benchmarks.fault_flips import flip_files
from benchmarks.fault_kills import kill_runs
from benchmarks.fault_runs import CLASSICAL, NETWORK
from benchmarks.warm_runs import ROOT, warm_up

ENGINES = {"none": (), "local": ("engine={workers: 2}", "tune.batch_trials=2")}
"""What `--engine` changes of the config; both sides of a comparison run with it."""
CROWDS = {
    "network": {
        "one": (),
        "two": ("prune.sparsity=0.5",),
        "three": ("tune=null",),
        "four": ("quantize=null",),
    },
    "classical": {"one": (), "two": ("model.max_depth=2",), "three": ("model.max_depth=4",), "four": ()},
}
out = Console(width=200, highlight=False)


def main() -> None:
    """Runs one measurement, prints its table, and ends with 1 where something was wrong."""
    asked = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="penjing-faults-", dir=asked.scratch) as place:
        folder = Path(place)
        (folder / "small.yaml").write_text(CLASSICAL if asked.config == "classical" else NETWORK, encoding="utf-8")
        if asked.what != "kills":
            warm_up(network=asked.config == "network")
        measures = {"kills": _kills, "full-disk": _full_disk, "flips": _flips, "crowd": _crowd}
        wrong = measures[asked.what](asked, folder)
    out.print(
        f"load {os.getloadavg()[0]:.1f}; {len(wrong)} wrong" if wrong else f"load {os.getloadavg()[0]:.1f}; all well"
    )
    for each in wrong:
        out.print(f"  {each}", markup=False)
    sys.exit(bool(wrong))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    kills = commands.add_parser("kills")
    kills.add_argument("--runs", type=int, default=100)
    kills.add_argument("--engine", choices=sorted(ENGINES), default="none")
    kills.add_argument("--config", choices=["digits", "network"], default="digits")
    kills.add_argument("--override", action="append", default=[])
    kills.add_argument("--seed", type=int, default=1)
    disk, flips, together = (commands.add_parser(name) for name in ("full-disk", "flips", "crowd"))
    disk.add_argument("--sizes", type=int, default=40)
    flips.add_argument("--count", type=int, default=200)
    flips.add_argument("--others", type=int, default=10)
    flips.add_argument("--seed", type=int, default=1)
    for each in (disk, flips, together):
        each.add_argument("--config", choices=["network", "classical"], default="network")
    for each in (kills, disk, flips, together):
        each.add_argument("--scratch", type=Path, help="folder for the work directories")
    return parser


def _kills(asked: argparse.Namespace, folder: Path) -> list[str]:
    overrides = [*ENGINES[asked.engine], *asked.override]
    hits: Counter[str] = Counter()
    runs = same = repeated = 0
    wrong: list[str] = []
    digits = asked.config == "digits"
    config, name = (ROOT / "configs" / "digits.yaml", "digits") if digits else (folder / "small.yaml", "small")
    for run in kill_runs(config, name, overrides, folder, asked.runs, asked.seed):
        runs, same, repeated = runs + 1, same + run.same, repeated + len(run.repeated)
        hits.update(run.hit)
        wrong += [*run.wrong, *(f"made twice: {each}" for each in run.repeated), *([] if run.same else ["other bytes"])]
        out.print(f"run {runs}: killed in {', '.join(run.hit) or 'no stage'}; {'same' if run.same else 'OTHER'} bytes")
    out.print(f"\n{runs} runs, {hits.total()} kills; {same} ended in the same bytes; {repeated} stages repeated")
    out.print("  ".join(f"{place} {number}" for place, number in hits.most_common()))
    return wrong


def _full_disk(asked: argparse.Namespace, folder: Path) -> list[str]:
    met: Counter[str] = Counter()
    wrong: list[str] = []
    try:
        for each in fill_disks(folder / "small.yaml", folder, asked.sizes):
            out.print(f"{each.limit:<18} {each.reached} artifacts  {each.told.strip()}", markup=False, soft_wrap=True)
            met[each.limit.partition("=")[0]] += bool(each.told)
            wrong += [f"{each.limit}: {fault}" for fault in each.wrong]
    except MountRefusedError as error:
        out.print(f"no small filesystem: {error}")
    told = f"{met['size']} of space, {met['nr_inodes']} of files, {met['fsize']} of the size of one file"
    out.print(f"\nlimits that were met: {told}")
    return wrong


def _flips(asked: argparse.Namespace, folder: Path) -> list[str]:
    tried: Counter[str] = Counter()
    noticed: Counter[str] = Counter()
    wrong: list[str] = []
    for each in flip_files(folder / "small.yaml", folder, asked.count, asked.others, asked.seed):
        for count in (tried, noticed) if each.noticed else (tried,):
            count.update((each.kind, each.file.partition("/")[0]))
        wrong += [f"{each.kind} {each.file}: {fault}" for fault in (*each.wrong, *_unnoticed(each.noticed))]
    for name, number in tried.most_common():
        out.print(f"{name:<12} {number:>4} damaged {noticed[name]:>4} noticed and made again")
    return wrong


def _unnoticed(noticed: bool) -> Iterator[str]:
    if not noticed:
        yield "not noticed"


def _crowd(asked: argparse.Namespace, folder: Path) -> Sequence[str]:
    found = crowd(folder / "small.yaml", folder, CROWDS[asked.config])
    told = f"{found.artifacts} artifacts, {found.shared} of them of more than one run"
    out.print(f"{len(CROWDS[asked.config])} runs at once: {told}; {len(found.repeated)} made more than once")
    return [*found.wrong, *found.repeated]


if __name__ == "__main__":
    main()
