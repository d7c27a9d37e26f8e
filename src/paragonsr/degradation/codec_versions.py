"""Versions of the libraries that encode images and video: another version may give other pixels."""

from importlib.util import find_spec


def codec_versions() -> dict[str, str]:
    """Library -> version, of all codecs that steps of a degradation use and that are installed."""
    import pyvips
    from PIL import features

    found = {
        "libjpeg": features.version_feature("libjpeg_turbo") or features.version_codec("jpg"),
        "libwebp": features.version_module("webp"),
        "libavif": features.version_module("avif") if "avif" in features.modules else None,
        "libvips": ".".join(str(pyvips.version(part)) for part in range(3)),
    }
    if find_spec("av") is not None:
        import av

        found |= {name: ".".join(map(str, parts)) for name, parts in av.library_versions.items()}
    return {name: version for name, version in found.items() if version}


def changed_codecs(before: dict[str, str]) -> str:
    """What differs from earlier versions, as a sentence; empty if nothing does."""
    now = codec_versions()
    differing = [
        f"{name} {before.get(name, 'missing')} -> {now.get(name, 'missing')}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if not differing:
        return ""
    return f"codecs have changed since this run began ({', '.join(differing)}): LR images may differ from now on"
