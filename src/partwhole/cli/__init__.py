"""The command line.

Help and refused input answer without importing torch; a refusal is one line and exit code 2.
"""

import os
import signal
import sys

from partwhole.cli.parser import parse
from partwhole.errors import BadInput, Diverged

RESUMABLE = ("train", "reproduce")


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 refused, 130 stopped with Ctrl-C or a
    SIGTERM.
    """
    argv = sys.argv[1:] if argv is None else argv
    # So that what a command started is ended with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        arguments = parse(argv)
        code = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except BadInput as error:
        return say(str(error), 2)
    except Diverged as error:
        return say(str(error), 1)
    except KeyboardInterrupt:
        goes_on = "; the same command goes on where it was" if argv and argv[0] in RESUMABLE else ""
        return say(f"stopped{goes_on}", 130)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def say(line: str, code: int) -> int:
    """One line on stderr, by one process of torchrun's only; returns the code."""
    if os.environ.get("RANK", "0") == "0":
        print(f"partwhole: {' '.join(line.split())}", file=sys.stderr)
    return code
