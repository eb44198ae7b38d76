"""`taxbreak-nsys store …`: ask, export and thin out a results store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli import shared_options
from taxbreak_nsys.errors import TaxbreakError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Ask, export and thin out a results store.")


@app.command()
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT statement.", show_default=False)],
    store: shared_options.StoreUrl = "taxbreak.db",
    format: Annotated[str, typer.Option("-f", "--format", help="table, csv, json or parquet.")] = "table",
    output: shared_options.Output = None,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:
    """Show what a SELECT over reports, tags, warnings, phases, states, kernels and failures finds.

    Example: taxbreak-nsys store query "SELECT path, phase, hdbi FROM phases JOIN reports ON reports.id = report_id"
    """
    from taxbreak_nsys.output.listing import check_format, put_rows
    from taxbreak_nsys.store.store_opening import open_store
    from taxbreak_nsys.store.store_queries import ask

    check_format(format, output, force_overwrite)
    with open_store(store) as opened:
        rows = ask(opened, sql)
    put_rows(rows, format, output, force=force_overwrite, quiet=quiet)


@app.command()
def export(
    parquet: Annotated[
        Path, typer.Option("--parquet", metavar="FOLDER", help="The folder to write.", show_default=False)
    ],
    store: shared_options.StoreUrl = "taxbreak.db",
    partition_by: Annotated[
        list[str] | None, typer.Option("--partition-by", metavar="KEY", help="A tag, or gpu, cpu, driver, host, "
                                       "nsys_version, to split the files by; repeatable.", show_default=False)
    ] = None,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:  # fmt: skip
    """Write the store as a dataset of Parquet files, a folder a table.

    Example: taxbreak-nsys store export --parquet team/ --partition-by model
    """
    from taxbreak_nsys.store.store_opening import open_store
    from taxbreak_nsys.store.store_queries import check_keys
    from taxbreak_nsys.store.table_export import export_parquet

    with open_store(store) as opened:
        check_keys(opened, partition_by or [], "--partition-by")
        counts = export_parquet(opened, parquet.absolute(), partition_by or [], force=force_overwrite)
    if not quiet:
        print(f"wrote {parquet}: {', '.join(f'{n} {name}' for name, n in counts.items())}", file=sys.stderr)


@app.command()
def prune(
    store: shared_options.StoreUrl = "taxbreak.db",
    older_than: Annotated[
        int | None, typer.Option("--older-than", metavar="DAYS", min=0, help="Captured longer ago.", show_default=False)
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="With this tag; repeatable.")
    ] = None,
    gone: Annotated[bool, typer.Option("--gone", help="Whose file is no longer there.")] = False,
    failures: Annotated[bool, typer.Option("--failures", help="Forget the failures as well.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many, delete nothing.")] = False,
    quiet: shared_options.Quiet = False,
) -> None:
    """Delete reports from the store: those for which all that is given holds.

    Example: taxbreak-nsys store prune --older-than 365 --tag model=llama --dry-run
    """
    from datetime import timedelta

    from taxbreak_nsys.batch.tags import parse_tag
    from taxbreak_nsys.store.prune import Selection
    from taxbreak_nsys.store.prune import prune_store as prune_store
    from taxbreak_nsys.store.store_opening import open_store
    from taxbreak_nsys.store.store_queries import check_keys

    tags = dict(parse_tag(text, "--tag") for text in tag or ())
    selection = Selection(timedelta(days=older_than) if older_than is not None else None, tags, gone, failures)
    if not selection.reports and not failures:
        raise TaxbreakError("nothing is chosen; give --older-than, --tag, --gone or --failures")
    with open_store(store) as reader:  # before a writer would make one
        check_keys(reader, list(tags), "--tag")
    with open_store(store, write=True) as opened:
        reports, failed = prune_store(opened, selection, dry=dry_run)
    if not quiet:
        print(f"{'would delete' if dry_run else 'deleted'} {reports} reports, {failed} failures", file=sys.stderr)


@app.command()
def upgrade(store: shared_options.StoreUrl = "taxbreak.db") -> None:
    """Bring an older store to the schema of this program; a batch does so by itself."""
    from taxbreak_nsys.store.store_opening import exists, open_store

    if not exists(store):
        raise TaxbreakError(f"{store}: no such store")
    with open_store(store, write=True):
        pass
