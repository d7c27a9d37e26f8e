"""The one way a user is told that something is wrong with what they gave."""


class UserError(Exception):
    """A mistake in the input, told in one message; the command line prints it and exits with 2.

    Args:
        what: what is wrong, one sentence.
        where: file and line, image, or key it is about.
        fix: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.fix}" if self.fix else text
