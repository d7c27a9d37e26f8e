"""Packages that only some exports need."""

from importlib.util import find_spec

from paragonsr.errors import UserError


def require(extra: str, *packages: str) -> None:
    """Check that packages are installed, without importing them.

    Args:
        extra: extra of paragonsr that has them.
        packages: names under which they are imported.

    Raises:
        UserError: one is missing.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UserError(f"this export needs {', '.join(missing)}", fix=f"pip install 'paragonsr[{extra}]'")
