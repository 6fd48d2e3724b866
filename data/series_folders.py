"""Which files a series source is made of, and what their folders say of them, without opening any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.contract import DataError
from data.image_folders import SPLIT_FOLDERS, SplitName, class_folders, files_below, folders_of
from data.paths import TABLE_SUFFIXES, existing


@dataclass(frozen=True)
class SeriesFile:
    """A file of series and what its place in the folders says of it.

    Attributes:
        path: the file.
        name: its path inside the source's folder; its name where the source is the file itself.
        class_name: name of its class folder; None where there is none.
        split: split folder that it lies in; None where there is none.
    """

    path: Path
    name: str
    class_name: str | None = None
    split: SplitName | None = None


def series_files(path: Path, by_folder: bool) -> list[SeriesFile]:
    """Lists the files of a series source, sorted by path; hidden files and other kinds of files are passed over.

    Args:
        path: a table, or a folder of tables.
        by_folder: whether folders are classes; else any folders may lie below the folder, or below split folders.

    Raises:
        DataError: nothing is there, a folder that should hold tables holds none, a link leads out of its folder, or a
            name is not UTF-8.
    """
    existing(path, "file or folder")
    if path.is_file():
        if not is_table_name(path):
            raise DataError(
                f"data.path: expected a folder, or a file that ends in {', '.join(TABLE_SUFFIXES)}, got {path.name!r}. "
                "Convert it."
            )
        return [SeriesFile(path, path.name)]
    files: list[SeriesFile] = []
    for folder, class_name, split in _places(path, by_folder):
        found = [file for file in files_below(folder, path) if is_table_name(file)]
        if not found:
            where = "there" if folder == path else f"in {str(folder.relative_to(path))!r}"
            raise DataError(
                f"data.path: expected files that end in {', '.join(TABLE_SUFFIXES)} in {path.name!r}, got none {where}"
                ". Add files, or remove the folder."
            )
        files += [SeriesFile(file, str(file.relative_to(path)), class_name, split) for file in found]
    return sorted(files, key=lambda file: file.path)


def loose_files(path: Path, files: list[SeriesFile]) -> list[str]:
    """Names the tables that lie in a folder beside its class or split folders, in none of them, sorted."""
    if path.is_file():
        return []
    taken = {file.path for file in files}
    return [
        str(file.relative_to(path)) for file in files_below(path, path) if is_table_name(file) and file not in taken
    ]


def is_table_name(path: Path) -> bool:
    """Says whether a file is a table by its suffix and not hidden."""
    return path.name.lower().endswith(TABLE_SUFFIXES) and not path.name.startswith(".")


def _places(root: Path, by_folder: bool) -> list[tuple[Path, str | None, SplitName | None]]:
    """Returns the folders to look through, each with its class and its split."""
    folders = folders_of(root, root)
    splits = [SPLIT_FOLDERS.get(folder.name.lower()) for folder in folders]
    whole: list[tuple[Path, str | None, SplitName | None]] = [(root, None, None)]
    if "train" in splits and None not in splits:
        whole = [(folder, None, split) for folder, split in zip(folders, splits, strict=True)]
        if not any(folders_of(folder, root) for folder in folders):
            return whole
    if by_folder and folders:
        return [(folder, folder.name, split) for folder, split in class_folders(root)]
    return whole
