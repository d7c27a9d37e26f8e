"""Which HR file belongs to which LR file."""

from dataclasses import dataclass
from pathlib import Path

from paragonsr.data.image_file import ENDINGS
from paragonsr.data.manifest import image_paths, is_manifest, root_of
from paragonsr.data.options import DatasetOptions, PairedOptions
from paragonsr.data.walk import image_files
from paragonsr.errors import UserError

_SHOWN = 5
"""Names that a message lists before it only counts."""


@dataclass(frozen=True)
class Pair:
    """An HR file and its LR file; no LR file where that image is made from HR."""

    name: str
    """Path of the HR file relative to its folder, with `/`; of several folders, with the folder before it."""
    hr: Path
    lq: Path | None


@dataclass(frozen=True)
class Matching:
    """What was found in the folders of a set, matched or not."""

    pairs: list[Pair]
    """In the order in which samples are counted: folder by folder, sorted by name."""
    without_lr: list[str]
    without_hr: list[str]
    """LR files that no HR file claims."""
    ambiguous: list[str]
    """Names that several files of one folder share, told apart by their endings alone."""


def find_pairs(options: DatasetOptions, phase: str) -> list[Pair]:
    """All pairs of a set, which is complete.

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
            fix="HR and LR files are matched by name without ending; add what is missing or remove what is left over"
            + (", or set filename_tmpl ('{}x2' when LR files are called 0001x2.png)." if found.without_hr else "."),
        )
    return found.pairs


def match(options: DatasetOptions, phase: str) -> Matching:
    """Find and match the files of a set; see `find_pairs` for the arguments.

    Of a manifest only the chosen images count; LR images of others are passed over.

    Raises:
        UserError: a folder is missing, unreadable or holds no image.
    """
    found = Matching([], [], [], [])
    lq_roots: list[str | None] = list(options.lq_roots) if options.lq_roots else [None] * len(options.hr_roots)
    template = options.filename_tmpl if isinstance(options, PairedOptions) else "{}"
    for hr_root, lr_root in zip(options.hr_roots, lq_roots, strict=True):
        before = f"{hr_root}/" if len(options.hr_roots) > 1 else ""
        chosen = image_paths(Path(hr_root)) if is_manifest(hr_root) else None
        hr_images = _images(hr_root, options, phase, "dataroot_gt") if chosen is None else chosen
        hr_root = hr_root if chosen is None else str(root_of(Path(hr_root)))
        hr_files = _by_stem(hr_images, hr_root, found.ambiguous)
        if lr_root is None:
            found.pairs.extend(Pair(before + _relative(file, hr_root), file, None) for file in hr_files.values())
            continue
        lr_files = _by_stem(_images(lr_root, options, phase, "dataroot_lq"), lr_root, found.ambiguous)
        for stem, file in hr_files.items():
            folder, slash, name = stem.rpartition("/")
            partner = lr_files.pop(folder + slash + template.format(name), None)
            if partner is None:
                found.without_lr.append(before + _relative(file, hr_root))
            else:
                found.pairs.append(Pair(before + _relative(file, hr_root), file, partner))
        if chosen is None:
            found.without_hr.extend(str(file) for file in lr_files.values())
    return found


def listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _count(names: list[str], noun: str) -> str:
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"


def _by_stem(files: list[Path], root: str, ambiguous: list[str]) -> dict[str, Path]:
    stems: dict[str, Path] = {}
    for file in files:
        stem = _relative(file, root)[: -len(file.suffix)]
        if stem in stems:
            ambiguous.append(f"{stems[stem]} / {file.name}")
        stems[stem] = file
    return stems


def _relative(file: Path, root: str) -> str:
    return file.relative_to(root).as_posix()


def _images(root: str, options: DatasetOptions, phase: str, key: str) -> list[Path]:
    folder = Path(root)
    elsewhere = f"or point elsewhere: datasets.{phase}.{key}=/path/to/images"
    where = f"datasets.{phase}.{key}"
    if not folder.is_dir():
        state = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(f"folder {root} {state}", where=where, fix=f"{_how_to_make(options, key)}, {elsewhere}.")
    files = [folder / name for name in sorted(image_files(folder))]
    if not files:
        endings = " ".join(sorted(ENDINGS))
        raise UserError(
            f"folder {root} holds no image ({endings})", where=where, fix=f"{_how_to_make(options, key)}, {elsewhere}."
        )
    return files


def _how_to_make(options: DatasetOptions, key: str) -> str:
    if key == "dataroot_lq":
        return (
            "Put an LR image of the same name there for each HR image, "
            "or write `type: singleimagedataset` without dataroot_lq to have them made from the HR images"
        )
    if isinstance(options, PairedOptions):
        return "Put HR images there and LR images of the same names into dataroot_lq"
    return "Put HR images there (LR images are made from them)"
