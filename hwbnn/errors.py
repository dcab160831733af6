"""Errors that a user can mend."""

__all__ = ["UserError"]


class UserError(ValueError):
    """Something the user gave cannot be used; the message says what and how to mend it.

    The message is one line, "Subject must be requirement, not value", without a full stop. The
    command line prints it and exits with status 2; every other exception is a defect of this package.
    """
