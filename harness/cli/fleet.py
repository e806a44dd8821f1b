"""`crosscheck worker`: this machine's platforms, for a Dask cluster that runs suites."""
# ruff: noqa: PLC0415 - an optional package, and `crosscheck --help` must not wait

import asyncio
from typing import Annotated

import typer

from harness.cli.app import app, console
from harness.errors import PlatformUnavailable, UserError

SCHEME = "dask://"
INSTALL = "pip install 'codec-crosscheck[fleet]'"


def address_of(text: str, option: str) -> str:
    """HOST:PORT of dask://HOST:PORT, once the package that speaks to it is known to be here."""
    address = text.removeprefix(SCHEME)
    host, _, port = address.rpartition(":")
    if not text.startswith(SCHEME) or not host or not port.isdigit():
        raise UserError(
            f"{option} {text!r}: write it as dask://HOST:PORT, such as dask://10.0.0.1:8786"
        )
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise PlatformUnavailable(text, f"{error}", INSTALL) from error
    return address


@app.command(
    epilog="""Examples:

- `dask scheduler` - on one machine, 10.0.0.1 here; the package with its extra `fleet` is needed there too
- `crosscheck worker dask://10.0.0.1:8786` - on each other one: offers every platform that it has
- `crosscheck worker dask://10.0.0.1:8786 --platform ort-cuda --platform ort-cpu` - offers these
- `crosscheck run default --executor dask://10.0.0.1:8786` - the suite, on all of them

Dask moves values by pickle: run it among machines that trust each other, with TLS as Dask's configuration sets it up."""
)
def worker(
    address: Annotated[str, typer.Argument(help="The Dask scheduler: dask://HOST:PORT.")],
    platform: Annotated[
        list[str] | None,
        typer.Option(help="Offer this platform; may be repeated. Default: all that are here."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Tasks worked on at once.")] = 2,
) -> None:
    """Offer this machine's platforms to a Dask cluster until its scheduler goes away."""
    scheduler = address_of(address, "ADDRESS")
    from harness.executors.dask_worker import offers, serve
    from harness.platforms.base import PLATFORMS

    for name in platform or []:
        PLATFORMS[name]  # unknown names end here
    with console.status("starting platforms"):
        environments, absent = offers(platform or [])
    for name, why in absent.items():
        console.print(f"{name}: unavailable: {why}", style="yellow", markup=False)
    if not environments:
        raise PlatformUnavailable(address, "this machine has none of its platforms", "see above")

    console.print(f"connecting to {scheduler}; waits until a scheduler answers there", markup=False)

    def ready() -> None:
        console.print(f"offers {', '.join(sorted(environments))}", markup=False)

    asyncio.run(serve(scheduler, environments, jobs, ready))
