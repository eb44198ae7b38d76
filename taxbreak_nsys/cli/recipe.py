"""`taxbreak-nsys recipe path` and `recipe install`: make the recipe `taxbreak_layers` known to nsys."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli.command_group import add_command, new_app
from taxbreak_nsys.cli.shared_options import WritingChoices

NAME = "taxbreak_layers"
VARIABLE = "NSYS_RECIPE_PATH"

app = new_app(help="Find and install the nsys recipe taxbreak_layers.")


def path() -> None:
    """Print the folder that holds the recipe.

    Example: ls "$(taxbreak-nsys recipe path)"
    """
    print(_source())


def install(
    *,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", show_default=False, help="Folder of recipes; default: the one that "
                       "NSYS_RECIPE_PATH names, else one in your own data folder."),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the recipe instead of linking to it.")] = False,
    written: WritingChoices,
) -> None:  # fmt: skip
    """Put the recipe into a folder and print the NSYS_RECIPE_PATH line for the shell.

    Example: eval "$(taxbreak-nsys recipe install)" && nsys recipe taxbreak_layers --input REPORTS
    """
    import os
    import shlex

    target = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else _own_folder())
    target = target.expanduser().absolute()
    outcome = place(_source(), target / NAME, copy=copy, force=written.force_overwrite)
    if not written.quiet:
        print(f"{outcome} {target / NAME}", file=sys.stderr)
        for note in _notes():
            print(f"note: {note}", file=sys.stderr)
    print(f"export {VARIABLE}={shlex.quote(str(target))}")


def _source() -> Path:
    from taxbreak_nsys.read.sql_files import data_folder

    return data_folder("recipes") / NAME


def _own_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("taxbreak-nsys", appauthor=False) / "recipes"


def place(source: Path, target: Path, *, copy: bool, force: bool) -> str:
    """Link or copy the recipe's folder; return "already linked:", "linked:" or "copied:".

    Raises TaxbreakError where the target exists (without `force`), is no recipe, or cannot be written.
    """
    import shutil

    from taxbreak_nsys.errors import TaxbreakError

    if target.is_symlink() and target.resolve() == source.resolve() and not copy:
        return "already linked:"
    if target.is_symlink() or target.exists():
        if not force:
            raise TaxbreakError(f"{target}: exists; give --force-overwrite to replace it")
        if not target.is_symlink() and not (target / f"{NAME}.py").is_file():
            raise TaxbreakError(f"{target}: is not a copy of the recipe, so it is not replaced; choose another folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink():
            target.unlink()
        elif target.exists():
            shutil.rmtree(target)
        if not copy:
            try:
                target.symlink_to(source, target_is_directory=True)
                return "linked:"
            except (OSError, NotImplementedError):
                pass  # a file system without links: copy
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        return "copied:"
    except OSError as error:
        raise TaxbreakError(
            f"{target}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error


def _notes() -> list[str]:
    """Return notes on what could prevent nsys from running the recipe."""
    from taxbreak_nsys.nsys.nsys_program import Nsys

    nsys = Nsys.find()
    if nsys is None:
        return ["nsys is not on PATH; recipes need Nsight Systems 2023.4 or newer"]
    if nsys.commands and "recipe" not in nsys.commands:
        return [f"nsys {nsys.release} has no recipes; install Nsight Systems 2023.4 or newer"]
    return [f"nsys runs recipes with the python3 on PATH: it must be one that has taxbreak-nsys, as {sys.executable}"]


for command in (path, install):
    add_command(app, command)
