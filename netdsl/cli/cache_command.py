"""`netdsl cache`: the machine code that was kept on disk."""

from __future__ import annotations

import click


@click.command()
@click.option("--clear", is_flag=True, help="Remove everything.")
def command(clear: bool) -> None:
    """Show where generated machine code is kept and how much there is, or clear it.

    NETDSL_CACHE_DIR sets the folder (`off` for none), NETDSL_CACHE_LIMIT the number of bytes it may take.
    """
    try:
        from netdsl.backends.native import cache
    except ImportError as error:
        raise click.ClickException(f"there is no native back-end here: {error}") from None

    held = cache.clear() if clear else cache.contents()
    if held.folder is None:
        click.echo("The cache is off (NETDSL_CACHE_DIR).")
        return
    amount = f"{held.entries:,} kernels, {held.bytes / 1024:,.0f} KiB"
    if clear:
        click.echo(f"Removed {amount} from {held.folder}")
    else:
        click.echo(f"{held.folder}\n{amount} of at most {held.limit / 1024:,.0f} KiB")
