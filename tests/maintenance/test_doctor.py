"""The checks of doctor."""

from __future__ import annotations

import http.server
import socketserver
import threading

import pytest

from rootstock.maintenance.doctor import doctor

pytestmark = pytest.mark.model


def test_doctor_asks_the_configured_servers(root, monkeypatch):
    """A mirror counts, not the public host behind it; so does a server that refuses."""
    findings = {f.topic: f for f in doctor(root)}
    assert findings["packages"].level == "ok"
    with socketserver.TCPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")
        findings = {f.topic: f for f in doctor(root)}
        server.shutdown()
    assert findings["weights"].level == "ok"
    assert findings["packages"].level == "note" and "127.0.0.1:9" in findings["packages"].detail
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert {f.topic: f for f in doctor(root)}["weights"].level == "note"
