"""The server over HTTP, as another page in the visitor's browser or a stranger on the network would ask it."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.test_browser import serving

EVIL = "https://evil.example"
FORM = b"--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\nx\r\n--b--\r\n"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a running server; its home is empty."""
    with serving(tmp_path_factory.mktemp("server-home")) as url:
        yield url.removeprefix("http://")


def ask(address: str, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address, timeout=20)
    body = (
        b"--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\nx\r\n--b--\r\n" if method == "PUT" else None
    )
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(
        method, path, body, given | ({"Content-Type": "multipart/form-data; boundary=b"} if body else {})
    )
    answer = connection.getresponse()
    if answer.status != 101:
        answer.read()
    return answer


@pytest.mark.parametrize(("origin", "host", "status"), [
    (EVIL, None, 403),
    ("null", None, 403),
    (EVIL, "evil.example", 403),  # DNS rebinding: its own name leads to this machine
    ("http://evil.example:8501", "evil.example:8501", 403),
    (None, None, 101),
])  # fmt: skip
def test_websockets_of_other_pages_are_refused(address: str, origin: str | None, host: str | None, status: int) -> None:
    headers = UPGRADE | ({"Origin": origin or f"http://{address}"}) | ({"Host": host} if host else {})
    assert ask(address, "/_stcore/stream", **headers).status == status


def test_who_shares_the_app_says_by_which_name(tmp_path: Path) -> None:
    start = ("-m", "app.cli", "app", "--no-browser", "--host", "127.0.0.1", "--allow", "maps.example.org")
    with serving(tmp_path, start=start) as url:
        address = url.removeprefix("http://")
        for host, status in (("maps.example.org", 101), (address, 101), ("evil.example", 403)):
            headers = UPGRADE | {"Origin": f"http://{host}", "Host": host}
            assert ask(address, "/_stcore/stream", **headers).status == status, host


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_nothing_is_uploaded_or_removed_without_the_token(address: str, method: str) -> None:
    for headers in (
        {},
        {"Origin": EVIL},
        {"X_Xsrftoken": "2|a|b|1"},
        {"Cookie": "_streamlit_xsrf=x", "X_Xsrftoken": "y"},
    ):
        assert ask(address, "/_stcore/upload_file/session/file", method, **headers).status == 403


def test_the_token_is_a_cookie_that_other_sites_do_not_send(address: str) -> None:
    cookie = ask(address, "/_stcore/health").getheader("Set-Cookie") or ""
    assert cookie.startswith("_streamlit_xsrf=")
    assert "SameSite=Lax" in cookie


def test_no_other_page_may_read_the_app(address: str) -> None:
    for path in ("/", "/_stcore/health", "/_stcore/host-config"):
        answer = ask(address, path, Origin=EVIL)
        assert answer.getheader("Access-Control-Allow-Origin") in (None, ""), path
        assert answer.getheader("Access-Control-Allow-Credentials") is None


@pytest.mark.parametrize("path", [
    "/app/static/../main.py", "/app/static/%2e%2e/main.py", "/app/static/..%2fmain.py",
    "/app/static/map/..%5c..%5cmain.py",
    "/app/static//etc/passwd", "/app/static/%2fetc%2fpasswd", "/static/../../../../etc/passwd",
    "/media/../../etc/passwd",
    "/component/samewhere/../../main.py", "/app/static/map/../../main.py", "/app/main.py", "/.streamlit/config.toml",
])  # fmt: skip
def test_static_files_are_those_of_their_folder(address: str, path: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.putrequest("GET", path, skip_host=False)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    assert b"st.set_page_config" not in content
    assert b"root:" not in content
    assert b"enableXsrfProtection" not in content
    assert answer.status in (400, 403, 404) or answer.getheader("Content-Type", "").startswith("text/html")


def test_static_files_say_what_they_are(address: str) -> None:
    for name, kind in (("countries.geojson", "application/geo+json"), ("map/map.js", "text/javascript")):
        answer = ask(address, f"/app/static/{name}")
        assert answer.status == 200
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Content-Type", "").split(";")[0] in (kind, "application/javascript", "text/plain")


def test_the_server_listens_on_this_machine_alone(tmp_path: Path) -> None:
    import streamlit.config

    root = Path(__file__).parents[2]
    text = (root / "app" / ".streamlit" / "config.toml").read_text("utf-8")
    assert 'address = "localhost"' in text
    assert "server.allowedHosts" in streamlit.config._config_options_template
