"""The pages that App Service's front end shows in a site's place: short here, with the words that people search for."""

from __future__ import annotations

from html import escape

from keyfob.wire.http import Reply


def _page(status: int, title: str, *sentences: str) -> Reply:
    text = "".join(f"<p>{escape(one)}</p>" for one in sentences)
    body = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
        f"<body><h1>{escape(title)}</h1>{text}</body></html>"
    )
    return Reply.text(body, status, "text/html; charset=utf-8")


def stopped() -> Reply:
    return _page(
        403,
        "Error 403 - This web app is stopped.",
        "The web app you have attempted to reach is currently stopped and does not accept any requests. Please try to "
        "reload the page or visit it again soon.",
        "If you are the web app administrator, start it: az webapp start.",
    )


def waiting_for_content(host: str) -> Reply:
    return _page(
        200,
        "Your web app is running and waiting for your content",
        f"{host} is live, but nothing was deployed to it yet.",
        "If you have already deployed, it has no program that could be started: set a startup command.",
    )


def no_site(host: str) -> Reply:
    return _page(
        404,
        "404 Web Site not found.",
        f"No site is called {host}.",
        "You may be seeing this error due to one of the reasons listed below: the name is misspelt, or the site was "
        "deleted.",
    )


def not_up(reason: str, host: str) -> Reply:
    return _page(
        503,
        ":( Application Error",
        reason,
        "If you are the application administrator, you can access the diagnostic resources: "
        f"keyfob logs, or az webapp log tail, for {host}.",
    )


def bad_gateway(reason: str) -> Reply:
    return _page(
        502,
        "502 - Web server received an invalid response while acting as a gateway or proxy server.",
        reason,
    )


def to_https(host: str, target: str) -> Reply:
    return Reply(301, b"", (("Location", f"https://{host}{target}"),), "text/html; charset=utf-8")
