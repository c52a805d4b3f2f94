"""The page's server: this machine only, and nothing in what it sends tells which arm a video is of.

Requests of other origins are refused (a page on the web could otherwise vote in the rater's name), and so are other
host names (DNS rebinding). Videos have random names that hold for one rater and pair.
"""

from __future__ import annotations

import asyncio
import errno
import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tornado.httpserver
import tornado.netutil
import tornado.web

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.ballot import Ballot, Refused, Task
from alice_repro.evaluation.preference.study import CRITERIA
from alice_repro.progress import log

ADDRESS = "127.0.0.1"
PAGE = Path(__file__).parent / "page"
_HOSTS = ("127.0.0.1", "localhost")
_LONGEST_REQUEST = 10_000  # bytes; a vote has some hundred
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; media-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class VoteServer:
    """Serves a ballot from a thread of its own: `with VoteServer(ballot, port) as server: print(server.url)`.

    Args:
        ballot: the study and its votes.
        port: 0 takes any that is free.

    Raises:
        UserError: the port is taken.
    """

    def __init__(self, ballot: Ballot, port: int = 0) -> None:
        try:
            self._sockets = tornado.netutil.bind_sockets(port, ADDRESS)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise UserError(f"port {port} cannot be used ({error.strerror}); name another with --port") from error
        self.port = self._sockets[0].getsockname()[1]
        self.url = f"http://{ADDRESS}:{self.port}/"
        self._ballot = ballot

    def __enter__(self) -> VoteServer:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = tornado.httpserver.HTTPServer(application(self._ballot), max_body_size=_LONGEST_REQUEST)
        server.add_sockets(self._sockets)
        ready.set()
        await self._stop.wait()
        server.stop()
        await server.close_all_connections()

    def __exit__(self, *failure: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=5)


def application(ballot: Ballot) -> tornado.web.Application:
    """The pages, the calls, and the clips of a ballot."""
    clips: dict[str, Path] = {}  # name that the page knows -> file, for the pairs handed out since the start
    shared = {"ballot": ballot, "clips": clips}
    return tornado.web.Application(
        [
            (r"/(|page\.js|page\.css)", _Page),
            (r"/api/(enter|vote|undo)", _Call, shared),
            (r"/clip/([0-9a-f]{24})", _Clip, {"path": str(ballot.study.folder / "clips"), "clips": clips}),
        ],
        default_handler_class=_Nothing,
        log_function=lambda handler: None,  # names of raters and pairs stay out of terminals
    )


class _Guarded(tornado.web.RequestHandler):
    """Refuses strangers, and sends no header that tells a video's source."""

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        headers = self.request.headers
        host = urlsplit(f"//{headers.get('Host', '')}").hostname
        origin = headers.get("Origin")
        foreign = origin is not None and origin != f"http://{headers.get('Host')}"
        # A link may lead to the page itself; nothing else is asked for by another site.
        linked = self.request.path == "/" and headers.get("Sec-Fetch-Mode") == "navigate"
        foreign |= headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none") and not linked
        if host not in _HOSTS or foreign:
            raise tornado.web.HTTPError(403, reason="Refused: open the page by the address that was printed")

    def compute_etag(self) -> None:
        return None

    def write_error(self, status_code: int, **more: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"error": self._reason}))


class _Nothing(_Guarded):
    def prepare(self) -> None:
        super().prepare()
        raise tornado.web.HTTPError(404)


class _Page(_Guarded):
    def get(self, name: str) -> None:
        path = PAGE / (name or "page.html")
        self.set_header("Content-Type", {".html": "text/html", ".js": "text/javascript"}.get(path.suffix, "text/css"))
        self.finish(path.read_bytes())


class _Call(_Guarded):
    """`enter`, `vote` and `undo`: JSON in, the rater's state out; what is refused comes with the state as it is."""

    def initialize(self, ballot: Ballot, clips: dict[str, Path]) -> None:
        self.ballot, self.clips = ballot, clips

    def post(self, action: str) -> None:
        if self.request.headers.get("Content-Type", "").split(";")[0] != "application/json":
            raise tornado.web.HTTPError(415)
        try:
            call = json.loads(self.request.body)
            if not isinstance(call, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise tornado.web.HTTPError(400, reason="The request is not JSON") from error
        try:
            rater = self.ballot.study.rater(call.get("rater"))
        except UserError as error:
            self._answer(400, {"error": str(error)})
            return
        try:
            self._do(action, rater, call)
        except Refused as error:
            self._answer(409, {"error": str(error), **self._state(rater)})
        except UserError as error:
            self._answer(400, {"error": str(error)})
        except OSError as error:  # a full disk: the vote is not kept, and the rater must know
            log(f"A vote could not be saved: {error}")
            self._answer(500, {"error": f"The vote could not be saved ({error.strerror}); tell who runs the study"})
        else:
            self._answer(200, self._state(rater))

    def _do(self, action: str, rater: str, call: dict[str, Any]) -> None:
        if action == "enter":
            return
        task = self.ballot.task(rater)
        at_hand = self._name(rater, task) if task else None
        if call.get("task") != at_hand:
            raise Refused("that pair was judged already, perhaps in another window; this is the next")
        if action == "undo":
            self.ballot.undo(rater)
        else:
            self.ballot.vote(rater, task.pair.id, str(call.get("criterion")), str(call.get("choice")))

    def _state(self, rater: str) -> dict[str, Any]:
        task = self.ballot.task(rater)
        state: dict[str, Any] = {"rater": rater, "can_undo": self.ballot.can_undo(rater), "task": None}
        if task is None:
            return state
        study = self.ballot.study
        names = [study.opaque("clip", rater, task.pair.id, place) for place in ("1", "2")]
        self.clips.update({name: study.clip(side) for name, side in zip(names, task.sides, strict=True)})
        state["task"] = {
            "task": self._name(rater, task),
            "caption": task.pair.caption,
            "clips": [f"/clip/{name}" for name in names],
            "criteria": [{"name": name, "question": CRITERIA[name]} for name in study.criteria],
            "answers": self._as_seen(task),
            "number": task.number,
            "total": task.total,
        }
        return state

    @staticmethod
    def _as_seen(task: Task) -> dict[str, str]:
        """Answers by the sides' places: the page must not learn which of them is a."""
        places = {"a": "1", "b": "2"} if task.first == "a" else {"a": "2", "b": "1"}
        return {criterion: places.get(choice, choice) for criterion, choice in task.answers.items()}

    def _name(self, rater: str, task: Task) -> str:
        return self.ballot.study.opaque("task", rater, task.pair.id)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body))


class _Clip(_Guarded, tornado.web.StaticFileHandler):
    """A clip by its random name, in parts where the browser asks for parts; no dates, no checksum, no path."""

    def initialize(self, path: str, clips: dict[str, Path]) -> None:
        super().initialize(path)
        self.clips = clips

    def parse_url_path(self, url_path: str) -> str:
        if url_path not in self.clips:
            raise tornado.web.HTTPError(404)
        return self.clips[url_path].name

    def get_modified_time(self) -> None:
        return None

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-store")
