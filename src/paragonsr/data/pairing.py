"""Matching of HR and LR files."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from paragonsr.data.image_file import ENDINGS
from paragonsr.data.manifest import image_names, is_manifest, root_of
from paragonsr.data.options import DatasetOptions, PairedOptions
from paragonsr.data.walk import Watched, image_files, stamp
from paragonsr.errors import UserError

_SHOWN = 5
"""Maximum number of names listed in a message; the others are only counted."""


@dataclass(frozen=True)
class Pair:
    """An HR file and its LR file; no LR file if that image is made from the HR image."""

    name: str
    """Path of the HR file relative to its folder, with `/`; prefixed with the folder if there are several."""
    hr: Path
    lq: Path | None


@dataclass(frozen=True)
class Matching:
    """Files found in the folders of a set, matched or not."""

    pairs: list[Pair]
    """Pairs in sampling order: folder by folder, sorted by name."""
    without_lr: list[str]
    without_hr: list[str]
    """LR files without a matching HR file."""
    ambiguous: list[str]
    """Names shared by several files of one folder, which differ only in their extensions."""
    watched: Watched = field(default_factory=dict, compare=False)
    """What determines these names: as long as it stays the same, they do."""


def find_pairs(options: DatasetOptions, phase: str) -> list[Pair]:
    """All pairs of a set; see `find_all`."""
    return find_all(options, phase).pairs


def find_all(options: DatasetOptions, phase: str) -> Matching:
    """Find all pairs of a set, which must be complete.

    Args:
        options: `datasets.<phase>`.
        phase: for messages.

    Raises:
        UserError: a folder is missing or empty, a name has no partner or several.
    """
    found = match(options, phase)
    complaints = []
    if found.ambiguous:
        complaints.append(f"{_count(found.ambiguous, 'name')} shared by several files: {listed(found.ambiguous)}")
    if found.without_lr:
        complaints.append(f"{_count(found.without_lr, 'HR image')} without LR image: {listed(found.without_lr)}")
    if found.without_hr:
        complaints.append(f"{_count(found.without_hr, 'LR image')} without HR image: {listed(found.without_hr)}")
    if complaints:
        raise UserError(
            "; ".join(complaints),
            where=f"datasets.{phase}",
            fix="HR and LR files are matched by name without extension; add the missing files or remove the extra ones"
            + (", or set filename_tmpl ('{}x2' if LR files are called 0001x2.png)." if found.without_hr else "."),
        )
    return found


def match(options: DatasetOptions, phase: str) -> Matching:
    """Find and match the files of a set; see `find_pairs` for the arguments.

    With a manifest, only the selected images count; LR images of others are ignored.

    Raises:
        UserError: a folder is missing, unreadable or contains no images.
    """
    found = Matching([], [], [], [])
    lq_roots: list[str | None] = list(options.lq_roots) if options.lq_roots else [None] * len(options.hr_roots)
    template = options.filename_tmpl if isinstance(options, PairedOptions) else "{}"
    for hr_root, lr_root in zip(options.hr_roots, lq_roots, strict=True):
        before = f"{hr_root}/" if len(options.hr_roots) > 1 else ""
        if is_manifest(hr_root):
            found.watched[os.path.abspath(hr_root)] = stamp(hr_root)
            hr_folder, hr_names = root_of(Path(hr_root)), image_names(Path(hr_root))
        else:
            hr_folder, hr_names = Path(hr_root), _images(hr_root, options, phase, "dataroot_gt", found.watched)
        hr_files = _by_stem(hr_names, hr_folder, found.ambiguous)
        if lr_root is None:
            found.pairs.extend(Pair(before + name, hr_folder / name, None) for name in hr_files.values())
            continue
        lr_folder = Path(lr_root)
        lr_names = _images(lr_root, options, phase, "dataroot_lq", found.watched)
        lr_files = _by_stem(lr_names, lr_folder, found.ambiguous)
        for stem, name in hr_files.items():
            folder, slash, last = stem.rpartition("/")
            partner = lr_files.pop(folder + slash + template.format(last), None)
            if partner is None:
                found.without_lr.append(before + name)
            else:
                found.pairs.append(Pair(before + name, hr_folder / name, lr_folder / partner))
        if not is_manifest(hr_root):
            found.without_hr.extend(str(lr_folder / name) for name in lr_files.values())
    return found


def listed(names: list[str]) -> str:
    """First few names, and the number of further ones."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _count(names: list[str], noun: str) -> str:
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"


def _by_stem(names: list[str], folder: Path, ambiguous: list[str]) -> dict[str, str]:
    stems: dict[str, str] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        if stem in stems:
            ambiguous.append(f"{folder / stems[stem]} / {name.rpartition('/')[2]}")
        stems[stem] = name
    return stems


def _images(root: str, options: DatasetOptions, phase: str, key: str, watched: Watched) -> list[str]:
    folder = Path(root)
    elsewhere = f"or set another folder: datasets.{phase}.{key}=/path/to/images"
    where = f"datasets.{phase}.{key}"
    if not folder.is_dir():
        state = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(f"folder {root} {state}", where=where, fix=f"{_how_to_make(options, key)}, {elsewhere}.")
    names = sorted(image_files(folder, watched=watched))
    if not names:
        endings = " ".join(sorted(ENDINGS))
        raise UserError(
            f"folder {root} contains no images ({endings})",
            where=where,
            fix=f"{_how_to_make(options, key)}, {elsewhere}.",
        )
    return names


def _how_to_make(options: DatasetOptions, key: str) -> str:
    if key == "dataroot_lq":
        return (
            "Put an LR image of the same name there for each HR image, "
            "or set `type: singleimagedataset` and remove dataroot_lq to make them from the HR images"
        )
    if isinstance(options, PairedOptions):
        return "Put HR images there, and LR images of the same names into dataroot_lq"
    return "Put HR images there (LR images are made from them)"
