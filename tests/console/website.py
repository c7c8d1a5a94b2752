"""Another website, which a person has open in the same browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tests.support import running


@dataclass
class Website:
    """Another website, which serves what a test puts on it."""

    url: str = ""
    body: str = ""
    received: list[str] = field(default_factory=list)

    async def answer(self, asked: Request) -> Response:
        self.received.append(str(asked.url))
        return HTMLResponse(f"<!doctype html><title>Elsewhere</title><body>{self.body}")


@contextmanager
def another_website() -> Iterator[Website]:
    """A website that is not the page's, by its name."""
    site = Website()
    with running(Starlette(routes=[Route("/{path:path}", site.answer)])) as url:
        site.url = url.replace("127.0.0.1", "localhost")
        yield site
