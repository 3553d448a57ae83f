"""The exceptions that a reader is meant to see: a single line that says what was wrong, what was expected,
what to do.
"""

from difflib import get_close_matches


class BadInput(ValueError):
    """Refused input. Its text is one line; the command line prints it and ends with exit code 2."""


class Diverged(ArithmeticError):
    """A training whose loss, weights or measures are no longer finite.

    One line; the command line ends with exit code 1.
    """


def choice(what: str, given: str, known: list[str]) -> BadInput:
    """The error for a name that is not among the known ones, with the nearest known name if there is one."""
    near = get_close_matches(given, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return BadInput(f"unknown {what} {given!r}; {hint}")
