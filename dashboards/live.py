"""A page in the browser that follows runs while they go."""

import logging
import socket
from collections.abc import Sequence

from dashboards.runs import Shelf
from parle_ray.console.parser import Parser
from parle_ray.errors import InputError

PORT = 8050
LOOPBACK = ("127.0.0.1", "localhost")


def live(argv: Sequence[str], prog: str) -> None:
    """Show the runs in a folder in the browser, also those that are under way."""
    parser = Parser(f"{prog} live", live.__doc__ or "")
    parser.add_argument(
        "folder",
        nargs="?",
        default="~/parle_results",
        metavar="FOLDER",
        help="of runs, or of one; or its URI (~/parle_results)",
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"0 takes a free one ({PORT})")
    parser.add_argument(
        "--host", default=LOOPBACK[0], help=f"whose requests are answered ({LOOPBACK[0]})"
    )
    given = parser.read(argv)
    shelf = Shelf(given.folder)
    listening = listen(given.host, given.port)
    from werkzeug.serving import make_server

    from dashboards.live_page import make_app

    app = make_app(shelf)
    if given.host in LOOPBACK:  # a page of the web that has a name for 127.0.0.1 reads nothing
        app.server.config["TRUSTED_HOSTS"] = list(LOOPBACK)
    else:
        print(f"  whoever reaches {given.host} sees the runs: nobody is asked for a password")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port = listening.getsockname()[1]
    server = make_server(given.host, port, app.server, threaded=True, fd=listening.fileno())
    print(f"  live     http://{given.host}:{port}     runs in {shelf.folder}, Ctrl-C ends it")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()
        listening.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        InputError: the port is taken, or the host is not of this machine.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"port must be 0 to 65535, got {port}; leave --port out for {PORT}")
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise InputError(
            f"port: cannot listen at {host}:{port} ({error.strerror}); give another --port, or 0 "
            "for a free one"
        ) from error
