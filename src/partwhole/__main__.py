"""`python -m partwhole` is `partwhole`; torchrun starts it so."""

from partwhole.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
