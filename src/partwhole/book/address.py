"""The repository's public address, which Colab and the badges use.

The address stands in `_config.yml` (`repository.url`, `repository.branch`), which the book needs anyway;
everything else that names it is rewritten from there by `make address URL=...`, which runs this file.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

from partwhole.errors import BadInput
from partwhole.places import home


class Address(NamedTuple):
    """Public address of the repository, `https://github.com/OWNER/NAME`, and the branch that readers get."""

    url: str
    branch: str

    @property
    def slug(self) -> str:
        """OWNER/NAME."""
        return self.url.removeprefix("https://github.com/")


def address(folder: Path | None = None) -> Address:
    """The address that `_config.yml` names."""
    import yaml

    repository = yaml.safe_load(((folder or home()) / "_config.yml").read_text(encoding="utf-8"))[
        "repository"
    ]
    return Address(repository["url"].rstrip("/"), repository["branch"])


def move(url: str, branch: str | None = None, folder: Path | None = None) -> list[Path]:
    """Write a new address wherever the old one stands and return the files that changed.

    url: `https://github.com/OWNER/NAME`.  branch: unchanged if not given.
    Files: `_config.yml`, README, CITATION, CONTRIBUTING, pages, notebooks.  BadInput for another form.
    """
    folder = folder or home()
    old = address(folder)
    url = url.strip().rstrip("/").removesuffix(".git")
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url):
        raise BadInput(
            f"the address is {url!r}; expected https://github.com/OWNER/NAME "
            "(Colab opens notebooks from there)"
        )
    if branch is not None and not re.fullmatch(r"[\w./-]+", branch):
        raise BadInput(f"the branch is {branch!r}; expected a branch name such as main")
    new = Address(url, branch or old.branch)
    changed = []
    for path in _naming(folder):
        before = path.read_text(encoding="utf-8")
        after = _rewritten(before, old, new)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def _naming(folder: Path) -> list[Path]:
    """The files in which the address may stand."""
    top = [
        folder / name
        for name in ("_config.yml", "README.md", "CITATION.cff", "CONTRIBUTING.md", "pyproject.toml")
    ]
    return [path for path in top if path.is_file()] + [
        path
        for pattern in ("book/**/*.md", "notebooks/**/*.ipynb")
        for path in sorted(folder.glob(pattern))
        if ".ipynb_checkpoints" not in path.parts
    ]


def _rewritten(text: str, old: Address, new: Address) -> str:
    """The text with every form of the old address replaced: page, Colab link, clone folder, branch."""
    end = r"(?![\w-]|\.\w)"  # OWNER/NAME must not be the beginning of a longer name
    text = re.sub(
        rf"{re.escape(old.slug)}(/(?:blob|tree|raw)/){re.escape(old.branch)}(?=/)",
        rf"{new.slug}\1{new.branch}",
        text,
    )
    text = re.sub(rf"(github(?:\.com)?/){re.escape(old.slug)}(?:\.git)?{end}", rf"\g<1>{new.slug}", text)
    old_name, new_name = old.slug.split("/")[-1], new.slug.split("/")[-1]
    text = text.replace(f'here / \\"{old_name}\\"', f'here / \\"{new_name}\\"')
    text = text.replace(f'\\"--branch\\", \\"{old.branch}\\"', f'\\"--branch\\", \\"{new.branch}\\"')
    text = re.sub(rf"(?m)^cd {re.escape(old_name)}$", f"cd {new_name}", text)
    return re.sub(rf"(?m)^(  branch: ){re.escape(old.branch)}$", rf"\g<1>{new.branch}", text)


def main(arguments: list[str]) -> int:
    """`python -m partwhole.book.address [URL [BRANCH]]`: show the address, or move to another one."""
    try:
        if len(arguments) > 2 or "-h" in arguments or "--help" in arguments:
            print("python -m partwhole.book.address [https://github.com/OWNER/NAME [BRANCH]]")
        elif arguments:
            changed = move(*arguments)
            print(f"{address().url}, branch {address().branch}: {len(changed)} files changed")
        else:
            print(f"{address().url}, branch {address().branch}")
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
