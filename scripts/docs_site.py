"""What MkDocs does besides `mkdocs.yml`: links to the code work in a checkout alone, and `llms.txt` has a place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page without the links that leave `docs/`: the site has no such files."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", markdown)


def on_post_build(config: Any, **_: Any) -> None:
    """Put `llms.txt` beside the pages, with their addresses on the site."""
    text = (Path(config["config_file_path"]).parent / "llms.txt").read_text("utf-8")
    pages = re.sub(r"\(docs/(?:index|([\w-]+))\.md\)", lambda found: f"({found[1]}/)" if found[1] else "(./)", text)
    Path(config["site_dir"], "llms.txt").write_text(pages, "utf-8")
