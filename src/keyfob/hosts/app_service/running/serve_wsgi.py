"""Serves a WSGI app with the standard library: `python serve_wsgi.py module[:name] port`, in the app's folder.

It runs inside a site's sandbox, with the site's Python, and so imports nothing of Keyfob's.
"""

import importlib
import os
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def address_string(self) -> str:
        return str(self.client_address[0])  # no look-up of names


def main() -> None:
    module, _, name = sys.argv[1].partition(":")
    sys.path.insert(0, os.getcwd())
    app = getattr(importlib.import_module(module), name or "application")
    with make_server("0.0.0.0", int(sys.argv[2]), app, Server, Handler) as server:  # noqa: S104 - its own network
        server.serve_forever()


if __name__ == "__main__":
    main()
