"""Model card in Markdown with the header that Hugging Face reads."""

from collections.abc import Sequence
from typing import Any

from paragonsr.export.openmodeldb import Statement
from paragonsr.inference.benchmark import Table

CARD = """---
license: {licence_id}
pipeline_tag: image-to-image
tags:
{tags}
---

# {title}

{description}

| | |
|---|---|
| scale | {scale} |
| architecture | {arch}, {parameters:,} parameters |
| trained | {trained} |
| training images | {data} |
| licence | {licence} |

## Measured

Mean over {images} validation images that were not trained on. LR by MATLAB's bicubic{lr}.

{values}

## Before and after

{pictures}

## Files

{files}

`SHA256SUMS` has their checksums, `config.yml` the configuration of the training.

```
paragonsr upscale photo.jpg --model {weights}
```
"""


def card(
    said: Statement,
    *,
    title: str,
    metadata: dict[str, Any],
    parameters: int,
    table: Table,
    pictures: Sequence[tuple[str, str]],
    files: dict[str, str],
    paired: bool,
) -> str:
    """Text of a model card.

    Args:
        said: statement of the author.
        title: name of the model with its scale.
        metadata: that of the weights.
        parameters: number of parameters.
        table: values on the validation images.
        pictures: names of the LR and the SR image of each pair.
        files: name of each file and what it is; the weights come first.
        paired: whether the validation images have LR images of their own.
    """
    mean, lines = table.mean(), ["| | network | bicubic | protocol |", "|---|---|---|---|"]
    for name, protocol in table.protocol.items():
        lines.append(f"| {name} | {mean.network[name]:.4f} | {mean.bicubic[name]:.4f} | `{protocol}` |")
    shown = ["| before | after |", "|---|---|", *(f"| ![before]({lr}) | ![after]({sr}) |" for lr, sr in pictures)]
    tags = ["super-resolution", "image-upscaling", *said.tags]
    return CARD.format(
        licence_id=said.licence.lower(),
        tags="\n".join(f"- {tag}" for tag in tags),
        title=title,
        description=said.description.strip(),
        scale=metadata["scale"],
        arch=metadata["options"].get("network", metadata["arch"]),
        parameters=parameters,
        trained=f"{metadata.get('iteration', 0):,} iterations, {metadata.get('samples', 0):,} samples",
        data=said.data,
        licence=said.licence,
        images=len(table.rows),
        lr=", or as given with the set" if paired else "",
        values="\n".join(lines),
        pictures="\n".join(shown),
        files="\n".join(f"- `{name}`: {what}" for name, what in files.items()),
        weights=next(iter(files)),
    )
