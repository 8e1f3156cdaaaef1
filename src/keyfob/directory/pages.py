"""The sign-in pages: HTML as text, everything from outside escaped, nothing loaded from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyfob.directory.redirects import hidden_fields
from keyfob.wire.http import Reply

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1b1f;--soft:#5c5f66;--line:#d3d6dc;--page:#eef1f6;--card:#fff;--deed:#1456c4}
@media(prefers-color-scheme:dark){:root{--ink:#eceef2;--soft:#a4a9b3;--line:#3c414b;--page:#14171c;--card:#1e2229;
--deed:#78a9ff}}
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;
background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{width:100%;max-width:26rem;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:2rem}
.mark{font-weight:600;color:var(--deed);margin:0 0 1.25rem}h1{font-size:1.4rem;line-height:1.25;margin:0 0 .5rem}
p{margin:0 0 1rem;color:var(--soft);overflow-wrap:anywhere}label{display:block;font-weight:500;margin:0 0 1rem}
input[type=text],input[type=password],input[type=email]{display:block;width:100%;margin-top:.25rem;padding:.6rem .7rem;
font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:8px}
button{width:100%;padding:.65rem;font:inherit;font-weight:600;color:var(--card);background:var(--deed);
border:1px solid var(--deed);border-radius:8px;cursor:pointer;margin-top:.25rem}
button.quiet{color:var(--deed);background:transparent;border-color:var(--line);margin-top:.6rem}
input:focus-visible,button:focus-visible{outline:3px solid var(--deed);outline-offset:2px}
.wrong{color:#b3261e;border-left:3px solid #b3261e;padding-left:.75rem}
@media(prefers-color-scheme:dark){.wrong{color:#ff9a92;border-color:#ff9a92}}
"""


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """What the page shows and sends back."""

    action: str
    client: str
    """Name of the application that asks."""
    csrf: str
    hidden: Mapping[str, str]
    login_hint: str = ""
    problem: str = ""
    choices: Sequence[str] = ()
    """Principal names to choose from without a password: only where the operator allows it."""
    device: bool = False
    user_code: str = ""


def sign_in_page(page: SignIn, *, nonce: str, status: int = 200) -> Reply:
    where = "your device" if page.device else page.client
    problem = f'<p class="wrong" role="alert">{html.escape(page.problem)}</p>' if page.problem else ""
    code = (
        '<label>Code<input type="text" name="user_code" autocomplete="off" autocapitalize="characters" required '
        f'maxlength="16" value="{html.escape(page.user_code)}"></label>'
        if page.device
        else ""
    )
    choose = "".join(
        f'<button class="quiet" name="choose" value="{html.escape(name)}" formnovalidate>{html.escape(name)}</button>'
        for name in page.choices
    )
    if choose:
        choose = f"<p>Or go on as, without a password:</p>{choose}"
    decline = '<button class="quiet" name="decline" value="1" formnovalidate>Decline</button>' if page.device else ""
    body = f"""<h1>Sign in</h1><p>to continue to {html.escape(where)}</p>{problem}
<form method="post" action="{html.escape(page.action)}">
{hidden_fields({**page.hidden, "csrf": page.csrf})}{code}
<label>User name<input type="text" inputmode="email" name="username" autocomplete="username" spellcheck="false" required
 value="{html.escape(page.login_hint)}"></label>
<label>Password<input type="password" name="password" autocomplete="current-password" required></label>
<button name="go" value="1">Sign in</button>{decline}{choose}</form>"""
    return _page("Sign in", body, nonce=nonce, status=status)


def message_page(title: str, text: str, *, nonce: str, status: int = 200) -> Reply:
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in text.splitlines() if line)
    return _page(title, f"<h1>{html.escape(title)}</h1>{lines}", nonce=nonce, status=status)


def form_post_page(redirect_uri: str, parameters: Mapping[str, str], *, nonce: str) -> Reply:
    """`response_mode=form_post`: the browser carries the answer in a form that sends itself."""
    body = f"""<h1>One moment</h1><p>You are being sent back to the application.</p>
<form method="post" action="{html.escape(redirect_uri)}">{hidden_fields(parameters)}<button>Continue</button></form>
<script nonce="{nonce}">document.forms[0].submit()</script>"""
    return _page("Working…", body, nonce=nonce, status=200)


def _page(title: str, body: str, *, nonce: str, status: int) -> Reply:
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="referrer" content="no-referrer"><title>{html.escape(title)}</title><style nonce="{nonce}">{_STYLE}</style>
</head><body><main><p class="mark">Keyfob</p>{body}</main></body></html>"""
    # no form-action: browsers apply it to the redirect after the form too, which leads back to the application
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; frame-ancestors 'none'; "
        "base-uri 'none'"
    )
    return Reply.text(text, status, "text/html; charset=utf-8").adding(
        ("Content-Security-Policy", policy),
        ("X-Frame-Options", "DENY"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
    )
