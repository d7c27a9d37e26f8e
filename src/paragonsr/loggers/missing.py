"""What is said where the package of a logger is not installed."""

from paragonsr.errors import UserError


def missing(package: str) -> UserError:
    """The error that names the package and how to install it."""
    return UserError(
        f"this logger needs the package {package}", where="logger.loggers", fix="pip install 'paragonsr[loggers]'"
    )
