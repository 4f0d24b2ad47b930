# ruff: noqa: E501 - pages as they come
"""Imitations of the hosts of the real sources, as those are known to answer."""

from __future__ import annotations

import html
from pathlib import Path

from .servers import Handler, Resource, Seen, Server, redirect, tree

QUOTA = """<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. Please try accessing the
file again later. If the file you are trying to access is particularly large or is shared with many people, it may
take up to 24 hours to be able to view or download the file.</p></body></html>"""
AUTOMATED = """<html><head><title>Sorry...</title></head><body><h1>We're sorry...</h1><p>... but your computer or
network may be sending automated queries. To protect our users, we can't process your request right now.</p></body></html>"""
SIGN_IN = """<!doctype html><html lang="en"><head><title>Google Drive: Sign-in</title></head><body>
<form action="https://accounts.google.com/v3/signin/identifier"><input type="email"></form>Sign in to continue</body></html>"""
GONE = """<!DOCTYPE html><html><head><title>Error 404 (Not Found)!!1</title></head><body>The requested URL was not found
on this server.</body></html>"""
OTHER = """<!DOCTYPE html><html><head><title>Google Drive - Notice</title></head><body>
<p class="uc-error-subcaption">This file has been flagged.</p></body></html>"""
PAGES = {
    "quota": (200, QUOTA, "24 hours"),
    "automated queries": (429 - 26, AUTOMATED, "robot"),
    "sign in": (200, SIGN_IN, "asks to sign in"),
    "gone": (404, GONE, "does not have it any more"),
    "something else": (200, OTHER, "This file has been flagged"),
}
REAL = "https://drive.google.com/", "https://drive.usercontent.google.com/"
UUID = "6f1c-uuid"
FORMS_BEFORE_2023 = {
    "a link": """<html><body><p>Google Drive can't scan this file for viruses.</p><a id="uc-download-link"
href="/uc?export=download&amp;confirm=t&amp;uuid=6f1c-uuid&amp;id=ID">Download anyway</a></body></html>""",
    "in a script": r"""<html><script>var data = {"title":"f","downloadUrl":"https://drive.google.com/uc?id\u003dID\u0026export\u003ddownload\u0026confirm\u003dt\u0026uuid\u003d6f1c-uuid"};</script></html>""",
}


class Drive(Server):
    """Files by id, folders by id; large files stand behind the form."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, tuple[str, Resource]] = {}
        self.folders: dict[str, tuple[str, list[tuple[str, str, str]]]] = {}
        self.large: set[str] = set()
        self.pages: dict[str, tuple[int, str]] = {}
        self.confirmed_at = "/download"

    @property
    def reroute(self) -> str:
        return " ".join(f"{real}={self.url}/" for real in REAL)

    def find(self, seen: Seen) -> Resource | None:
        id_ = seen.query.get("id", [""])[0]
        if seen.path == "/embeddedfolderview":
            return self.listing(id_)
        if id_ in self.pages:
            code, text = self.pages[id_]
            return Resource(b"", always=self.show(code, text))
        if id_ not in self.files:
            return Resource(b"", always=self.show(404, GONE))
        name, resource = self.files[id_]
        confirmed = (
            seen.path == self.confirmed_at and seen.query.get("confirm") == ["t"] and seen.query["uuid"] == [UUID]
        )
        if id_ in self.large and not confirmed:
            return Resource(b"", always=self.show(200, self.form(id_, name)))
        resource.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return resource

    @staticmethod
    def show(code: int, text: str):
        def act(handler: Handler, resource: Resource) -> bool:
            handler.answer(code, text.encode(), {"Content-Type": "text/html; charset=utf-8"})
            return True

        return act

    def form(self, id_: str, name: str) -> str:
        return f"""<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<div class="uc-main"><p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<a href="/open?id={id_}">{name}</a> (812M) is too large for Google to scan for viruses.
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">
<input type="submit" id="uc-download-link" value="Download anyway"/><input type="hidden" name="id" value="{id_}">
<input type="hidden" name="export" value="download"><input type="hidden" name="confirm" value="t">
<input type="hidden" name="uuid" value="{UUID}"></form></div></body></html>"""

    def listing(self, id_: str) -> Resource | None:
        if id_ not in self.folders:
            return Resource(b"", always=self.show(404, GONE))
        title, rows = self.folders[id_]
        entries = "".join(
            f"""<div class="flip-entry" id="entry-{child}" tabindex="0" role="link"><div class="flip-entry-info">
<a href="https://{self.place(child, kind)}" target="_blank"><div class="flip-entry-visual"><img alt="" src="x"/></div>
<div class="flip-entry-title">{html.escape(name)}</div></a></div><div class="flip-entry-last-modified"><div>4/1/24</div>
</div></div>"""
            for child, name, kind in rows
        )
        text = f"<html><head><title>{title}</title></head><body><div class='flip-entries'>{entries}</div></body></html>"
        return Resource(b"", always=self.show(200, text))

    @staticmethod
    def place(child: str, kind: str) -> str:
        return {
            "file": f"drive.google.com/file/d/{child}/view?usp=drive_web",
            "folder": f"drive.google.com/drive/folders/{child}",
            "doc": f"docs.google.com/document/d/{child}/edit?usp=drive_web",
        }[kind]

    def share(self, folder: Path, id_: str) -> None:
        """Share a folder and all below it; ids are made from the paths."""
        rows = []
        for path in sorted(folder.iterdir()):
            child = f"{id_}-{len(rows)}"
            rows.append((child, path.name, "folder" if path.is_dir() else "file"))
            if path.is_dir():
                self.share(path, child)
            else:
                body = path.read_bytes()
                self.files[child] = (path.name, Resource(body, last_modified="Mon, 01 Apr 2024 10:00:00 GMT"))
        self.folders[id_] = (folder.name, rows)


def frdr(archives: Path) -> tuple[Server, Server, str]:
    """A repository that redirects each file to a store on another host; returns both and the reroute."""
    store = Server(tree(archives), host="127.0.0.2")
    front = Server()
    base = "/repo/files/8/published/publication_538/submitted_data/Data"
    for path in store.resources:
        front.resources[base + path] = Resource(b"", always=redirect(f"{store.url}{path}"))
    return front, store, f"https://www.frdr-dfdr.ca/={front.url}/"
