"""Model strings: which environment and which model they mean."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootstock import ConfigurationError, find_root
from rootstock.environments.model_strings import resolve
from rootstock.errors import UnknownNameError
from tests.support.environment_files import write_environment_file


@settings(max_examples=200, deadline=None)
@given(
    st.text()
    | st.lists(st.sampled_from(["mace", "-", "/", "medium", "uma", "\0", "é"])).map("".join)
)
def test_any_model_string_is_resolved_or_refused(text):
    with tempfile.TemporaryDirectory() as folder:
        try:
            environment, argument = resolve(text, find_root(folder))
        except ConfigurationError:
            return
    assert text in (environment.name + "-" + argument, environment.name)
    assert environment.file.name == environment.name


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("mace-medium", "mace", "medium"),
        ("mace-small", "mace", "small"),
        ("mace-medium-mpa-0", "mace", "medium-mpa-0"),
        ("mace-/path/to/weights.pt", "mace", "/path/to/weights.pt"),
        ("mace-/path/with - odd/näme\n.pt", "mace", "/path/with - odd/näme\n.pt"),
        ("chgnet", "chgnet", ""),
        ("chgnet-", "chgnet", ""),
        ("my-own", "my-own", ""),
        ("my-own-large", "my-own", "large"),
        ("my-other", "my", "other"),
    ],
)
def test_model_strings(tmp_path, text, name, argument):
    write_environment_file(tmp_path / "environments", "my")
    write_environment_file(tmp_path / "environments", "my-own")
    environment, resolved = resolve(text, find_root(tmp_path))
    assert (environment.name, resolved) == (name, argument)
    assert environment.file.name == name


@pytest.mark.parametrize(
    ("text", "similar"), [("chgnett", "chgnet"), ("maze-medium", "mace"), ("SNAP", "snap")]
)
def test_similar_names_are_suggested(tmp_path, text, similar):
    with pytest.raises(UnknownNameError) as caught:
        resolve(text, find_root(tmp_path))
    assert similar in caught.value.suggestions
    assert f"did you mean '{similar}'" in str(caught.value)


def test_a_relative_path_that_exists_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pt").touch()
    root = find_root(tmp_path)
    assert resolve("mace-./w.pt", root)[1] == str(tmp_path / "w.pt")
    assert resolve("mace-./v.pt", root)[1] == "./v.pt"
