"""Damage to files of a store: a flipped byte, a file cut short, emptied, gone, or one too many."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fault_runs import bundle_bytes, committed, damaged, made_of
from benchmarks.warm_runs import warm_run
from pipeline.runs import Workdir

KINDS = ("flip", "cut", "empty", "gone", "extra")


@dataclass(frozen=True)
class Flipped:
    """What a run made of one damaged file.

    Attributes:
        kind: what was done to it.
        file: which, within the store.
        noticed: whether the run set its artifact aside; True too of files that only save time, which are read anew.
        wrong: what was not as it must be.
    """

    kind: str
    file: str
    noticed: bool
    wrong: tuple[str, ...]


def flip_files(config: Path, folder: Path, count: int, others: int, seed: int) -> Iterator[Flipped]:
    """Damages one file after the other, and runs the config after each.

    Args:
        config: whose run is named `small`.
        folder: scratch.
        count: flipped bytes.
        others: damage of each other kind.
        seed: of files and bytes.
    """
    # Two runs in places of their own tell which files hold times and can never be the same.
    for place in ("runs", "again"):
        told = warm_run("run", config, "--workdir", folder / place)
        if told.code != 0:
            raise SystemExit(f"the run does not end well on a whole store:\n{told.err}")
    workdir, once = folder / "runs", made_of(folder / "again")
    stable = {
        each: {name: digest for name, digest in files.items() if once[each].get(name) == digest}
        for each, files in made_of(workdir).items()
    }
    dice = random.Random(seed)
    for kind in ["flip"] * count + [each for each in KINDS[1:] for _ in range(others)]:
        yield _flipped(config, workdir, kind, stable, dice)


def _flipped(config: Path, workdir: Path, kind: str, stable: dict[str, dict[str, str]], dice: random.Random) -> Flipped:
    store = workdir / "store"
    files = sorted(path for path in store.rglob("*") if path.is_file() and ".aside" not in path.parts)
    path = dice.choice([each for each in files if each.stat().st_size > 0])
    bundle = bundle_bytes(workdir, "small")
    # What a search tried is looked at when it is searched again.
    run = Workdir(workdir).read("small")
    asked = {} if run is None else run.keys
    artifact = "/".join(str(path.relative_to(store)).split("/")[:2])
    if not artifact.startswith(".") and artifact not in {f"{stage}/{key}" for stage, key in asked.items()}:
        shutil.rmtree(store / "tune" / asked["tune"])
    before = committed(workdir)
    _damage(path, kind, dice)
    told = warm_run("run", config, "--workdir", workdir)
    name = str(path.relative_to(store))
    wrong = [] if told.code == 0 else [f"exit code {told.code}: {told.err}"]
    after = committed(workdir)
    aside = told.out.count("set aside, to be made again")
    if name.startswith("."):  # what saves time, and locks
        wrong += ["something was set aside"] if aside else []
        noticed = True
    else:
        noticed = aside == 1 and after[artifact] != before[artifact]
        wrong += [f"made again too: {each}" for each in before if each != artifact and after[each] != before[each]]
        made = made_of(workdir)[artifact]
        wrong += [f"other bytes: {each}" for each, digest in stable[artifact].items() if made[each] != digest]
    wrong += damaged(workdir)
    wrong += ["another bundle"] if bundle_bytes(workdir, "small") != bundle else []
    shutil.rmtree(store / ".aside", ignore_errors=True)
    return Flipped(kind, name, noticed, tuple(wrong))


def _damage(path: Path, kind: str, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if kind == "flip":
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content)
    elif kind == "cut":
        path.write_bytes(content[: dice.randrange(len(content))])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "gone":
        path.unlink()
    else:
        path.with_name("one-too-many").write_bytes(content)
