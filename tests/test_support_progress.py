"""How progress is shown: nothing, plain lines or a live display."""

# Beside the folders named after the packages of src: tests/support holds helpers of the tests.

from __future__ import annotations

from rootstock.support.progress import LineProgress, LiveProgress, Progress, default_progress


def test_progress_fits_its_terminal(monkeypatch, capsys):
    assert isinstance(default_progress(), LineProgress)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert isinstance(default_progress(), LiveProgress)
    monkeypatch.setattr("sys.stderr", None)
    assert type(default_progress()) is Progress


def test_plain_lines(capsys):
    progress = LineProgress()
    progress.begin("building")
    progress.line("one")
    progress.end("ready")
    progress.end()
    assert capsys.readouterr().err == "rootstock: building\nrootstock: one\nrootstock: ready\n"


def test_the_live_display_ends_with_its_summary(capsys):
    progress = LiveProgress()
    progress.begin("building")
    progress.line("a [dim]line")
    progress.end("ready [now]")
    progress.end()
    assert "ready [now]" in capsys.readouterr().err
