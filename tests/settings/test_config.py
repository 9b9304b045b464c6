"""Config files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootstock import ConfigurationError, find_root
from rootstock.settings.config import read_config


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                "root = ",
                "cluster = ",
                "'/a'\n",
                "'~x/b'\n",
                "[clusters]\n",
                "a = ",
                "5\n",
                "[[",
                "'\\u0000'",
            ]
        )
        | st.text(max_size=3)
    ).map(lambda pieces: "".join(pieces).encode())
)
def test_any_config_file_is_read_or_refused(raw):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder, "config.toml")
        path.write_bytes(raw)
        patch.setenv("ROOTSTOCK_CONFIG", str(path))
        try:
            config = read_config()
        except ConfigurationError as error:
            assert str(path) in str(error)
            return
    assert config.root is None or config.root.is_absolute()
    assert all(folder.is_absolute() for folder in config.clusters.values())


@pytest.mark.parametrize(
    "text",
    [
        "root = ",
        "root = 1",
        "rooot = '/a'",
        "root = '/a'\ncluster = 'b'",
        "clusters = 5",
        "[clusters]\na = 1",
        "\x00",
        "root = '~nobody-of-that-name/x'",
        'root = "nul\\u0000"',
        "[clusters]\na = '~nobody-of-that-name/x'",
    ],
)
def test_broken_config_files(config, text):
    config.write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.toml"):
        find_root()
    assert find_root("/given").path == Path("/given")


def test_a_named_config_file_must_exist(config):
    with pytest.raises(ConfigurationError, match="does not exist"):
        find_root()
