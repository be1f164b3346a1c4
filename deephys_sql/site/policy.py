"""A Content-Security-Policy for every response: only scripts that a template holds run, and nothing comes from another host.

Datasette's templates have inline scripts. Each is given a number used once (a nonce) where the template is compiled, so before
any value of a store is put in: what a value brings in has none, and does nothing. Our own pages have no inline scripts and
styles, and say so with a stricter policy of their own, which is left as it is.
"""

import base64
import hashlib
import re
import secrets
from contextvars import ContextVar

from jinja2.ext import Extension

# Datasette's pages and its SQL editor write styles into the page; under this policy a style can't run or send anything.
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; script-src-attr {handlers}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)

# Nothing but our own scripts and styles runs on our pages, whatever a store holds.
PAGE_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
}

_nonce: ContextVar[str] = ContextVar("nonce", default="")
_handlers: set[str] = set()  # the onclick="..." that templates hold, hashed


class Nonces(Extension):
    """Gives every <script> in the text of a template the nonce of the request."""

    def __init__(self, environment):
        super().__init__(environment)
        environment.globals["csp_nonce"] = _nonce.get

    def preprocess(self, source, name, filename=None):
        for handler in re.findall(r'\son[a-z]+="([^"{}]+)"', source):
            _handlers.add(base64.b64encode(hashlib.sha256(handler.encode()).digest()).decode())
        return re.sub(r"<script\b", '<script nonce="{{ csp_nonce() }}"', source)


async def guarded(app, scope, receive, send) -> None:
    """Answer a request with the policy and `nosniff` in the headers, unless the answer has its own."""

    async def send_guarded(message):
        if message["type"] == "http.response.start":
            handlers = " ".join(["'unsafe-hashes'", *(f"'sha256-{one}'" for one in sorted(_handlers))]) if _handlers else "'none'"
            given = {name.lower() for name, _ in message.get("headers", ())}
            wanted = {
                b"content-security-policy": POLICY.format(nonce=_nonce.get(), handlers=handlers).encode(),
                b"x-content-type-options": b"nosniff",
            }
            missing = [pair for pair in wanted.items() if pair[0] not in given]
            message = message | {"headers": [*message.get("headers", ()), *missing]}
        await send(message)

    token = _nonce.set(secrets.token_urlsafe(16))
    try:
        await app(scope, receive, send_guarded)
    finally:
        _nonce.reset(token)
