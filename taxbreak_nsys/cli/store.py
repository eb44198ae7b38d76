"""`taxbreak-nsys store …`: query, export and prune a results store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli.command_group import add_command, new_app
from taxbreak_nsys.cli.shared_options import OutputChoices, Quiet, RowsFormat, StoreUrl, WritingChoices
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import OutputFormat

app = new_app(help="Query, export and prune a results store.")


def query(
    *,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT statement.", show_default=False)],
    store: StoreUrl = "taxbreak.db",
    format: RowsFormat = OutputFormat.TABLE,
    written: OutputChoices,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="The most time for the statement.")
    ] = 300,
) -> None:
    """Show the rows of a SELECT over reports, tags, warnings, phases, states, kernels and failures.

    Example: taxbreak-nsys store query "SELECT path, phase, hdbi FROM phases JOIN reports ON reports.id = report_id"
    """
    from taxbreak_nsys.output.listing import check_format, put_rows
    from taxbreak_nsys.store.store_opening import open_store
    from taxbreak_nsys.store.user_query import run_select

    check_format(format, written.output, written.force_overwrite)
    with open_store(store) as opened:
        rows = run_select(opened, sql, timeout)
    put_rows(rows, format, written.output, force=written.force_overwrite, quiet=written.quiet)


def export(
    *,
    parquet: Annotated[
        Path, typer.Option("--parquet", metavar="FOLDER", help="The folder to write.", show_default=False)
    ],
    store: StoreUrl = "taxbreak.db",
    partition_by: Annotated[
        list[str] | None,
        typer.Option("--partition-by", metavar="KEY", help="A tag, or gpu, cpu, driver, host, nsys_version, to split "
                     "the files by; repeatable."),
    ] = None,
    written: WritingChoices,
) -> None:  # fmt: skip
    """Write the store as a dataset of Parquet files, a folder per table.

    Example: taxbreak-nsys store export --parquet team/ --partition-by model
    """
    from taxbreak_nsys.store.store_opening import open_store
    from taxbreak_nsys.store.store_queries import check_keys
    from taxbreak_nsys.store.table_export import export_parquet

    with open_store(store) as opened:
        check_keys(opened, partition_by or [], "--partition-by")
        counts = export_parquet(opened, parquet.absolute(), partition_by or [], force=written.force_overwrite)
    if not written.quiet:
        print(f"wrote {parquet}: {', '.join(f'{n} {name}' for name, n in counts.items())}", file=sys.stderr)


def prune(
    *,
    store: StoreUrl = "taxbreak.db",
    older_than: Annotated[
        int | None,
        typer.Option("--older-than", metavar="DAYS", min=0, help="Only reports captured more than DAYS ago."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Only reports with this tag; repeatable.")
    ] = None,
    gone: Annotated[bool, typer.Option("--gone", help="Only reports whose file no longer exists.")] = False,
    failures: Annotated[bool, typer.Option("--failures", help="Delete the stored failures as well.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the counts and delete nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Delete the reports that meet all given conditions from the store.

    Example: taxbreak-nsys store prune --older-than 365 --tag model=llama --dry-run
    """
    from datetime import timedelta

    from taxbreak_nsys.batch.tags import parse_tag
    from taxbreak_nsys.store.prune import Selection, prune_store
    from taxbreak_nsys.store.store_opening import open_store
    from taxbreak_nsys.store.store_queries import check_keys

    tags = dict(parse_tag(text, "--tag") for text in tag or ())
    age = timedelta(days=older_than) if older_than is not None else None
    selection = Selection(older_than=age, tags=tags, gone=gone, failures=failures)
    if not selection.reports and not failures:
        raise TaxbreakError("nothing is chosen; give --older-than, --tag, --gone or --failures")
    with open_store(store) as reader:  # opening to write first would create a missing store
        check_keys(reader, list(tags), "--tag")
    with open_store(store, write=True) as opened:
        reports, failed = prune_store(opened, selection, dry=dry_run)
    if not quiet:
        print(f"{'would delete' if dry_run else 'deleted'} {reports} reports, {failed} failures", file=sys.stderr)


def upgrade(*, store: StoreUrl = "taxbreak.db") -> None:
    """Bring an older store to the schema of this program; a batch does so by itself."""
    from taxbreak_nsys.store.store_opening import exists, open_store

    if not exists(store):
        raise TaxbreakError(f"{store}: no such store")
    with open_store(store, write=True):
        pass


for command in (query, export, prune, upgrade):
    add_command(app, command)
