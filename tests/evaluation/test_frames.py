"""Reading the frames of files."""

from __future__ import annotations

from operator import length_hint

import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import write

from rootstock import ConfigurationError
from rootstock.evaluation.frames import StructureFiles

INDICES = [":", "-1", "0", "3", "::2", "1:", ":-1", "-2:", "::-1", "4:1:-2", "10:"]


@pytest.fixture
def images():
    return [bulk("Cu") * (n + 1, 1, 1) for n in range(5)]


def chosen(images, index):
    numbers = list(range(len(images)))
    picked = (
        numbers[slice(*(int(p) if p else None for p in index.split(":")))]
        if ":" in index
        else [numbers[int(index)]]
    )
    return [(number, len(images[number])) for number in picked]


def found(files):
    return [(frame.number, len(atoms)) for frame, atoms in files]


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize(
    "name", ["in.extxyz", "in.xyz", "in.xyz.gz", "in.traj", "in.json", "XDATCAR"]
)
def test_every_index_in_every_kind_of_file(tmp_path, images, name, index):
    if name == "XDATCAR":
        images = [images[1]] * 5  # one number of atoms
    write(tmp_path / name, images)
    files = StructureFiles([tmp_path / name], index)
    assert found(files) == found(files) == chosen(images, index)
    known = name not in {"in.json", "XDATCAR"}
    assert length_hint(files, -1) == (len(chosen(images, index)) if known else -1)


def test_files_with_one_structure(tmp_path, images):
    names = ["a.cif", "POSCAR", "b.traj"]
    for name in names:
        write(tmp_path / name, images[2])
    files = StructureFiles([tmp_path / name for name in names], "-1")
    assert [(frame.file[-6:], frame.number) for frame, _ in files] == [
        ("/a.cif", 0),
        ("POSCAR", 0),
        ("b.traj", 0),
    ]


def test_rows_of_a_database_by_a_selection(tmp_path, images):
    with connect(tmp_path / "in.db") as database:
        for number, atoms in enumerate(images):
            database.write(atoms, even=number % 2 == 0)
    assert found(StructureFiles([tmp_path / "in.db"], "even=1")) == [(0, 1), (1, 3), (2, 5)]


def test_lattice_vectors_after_the_atoms(tmp_path):
    text = "1\nfirst\nH 0 0 0\nVEC1 5 0 0\nVEC2 0 5 0\nVEC3 0 0 5\n1\nsecond\nH 1 1 1\n\n"
    (tmp_path / "in.xyz").write_text(text)
    files = StructureFiles([tmp_path / "in.xyz"])
    assert length_hint(files) == 2
    assert [atoms.cell.volume for _, atoms in files] == pytest.approx([125, 0])


@pytest.mark.parametrize("index", ["5", "-6"])
@pytest.mark.parametrize("name", ["in.extxyz", "in.traj", "in.json"])
def test_a_frame_that_does_not_exist(tmp_path, images, name, index):
    write(tmp_path / name, images)
    with pytest.raises(ConfigurationError, match=f"has no frame {index}: it has"):
        list(StructureFiles([tmp_path / name], index))


@pytest.mark.parametrize("index", ["x", "", "1:x", "::0", "1:2:3:4"])
def test_an_invalid_index(tmp_path, images, index):
    write(tmp_path / "in.xyz", images)
    with pytest.raises(ConfigurationError, match="must be frames in ASE's syntax"):
        StructureFiles([tmp_path / "in.xyz"], index)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "can't read"),
        ("1\n\nH 0 0 0\nx\n\nH 0 0 0\n", "frame 1 of .* begins with 'x'"),
        ("1\n\nH 0 0 0\n3\n\nH 0 0 0\n", "frame 1 of .* is cut off"),
        ("1\n\nH 0 0 0\n-1\n\n", "frame 1 of .* begins with '-1'"),
        ("1\n\nH 0 0 0\n\n1\n\nH 1 1 1\n", "has an empty line after frame 0"),
    ],
)
def test_a_broken_file_is_refused_at_once(tmp_path, text, message):
    (tmp_path / "in.xyz").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        StructureFiles([tmp_path / "in.xyz"])


def test_a_missing_file_is_refused_at_once(tmp_path, images):
    write(tmp_path / "in.xyz", images)
    with pytest.raises(ConfigurationError, match="there is no file"):
        StructureFiles([tmp_path / "in.xyz", tmp_path / "out.xyz"])


def test_a_broken_trajectory(tmp_path):
    (tmp_path / "in.traj").write_bytes(b"no trajectory")
    with pytest.raises(ConfigurationError, match="can't read"):
        StructureFiles([tmp_path / "in.traj"])


def test_an_unreadable_frame_is_named_after_those_before(tmp_path):
    (tmp_path / "in.xyz").write_text("1\n\nH 0 0 0\n1\n\nH zero 0 0\n")
    read = []
    with pytest.raises(ConfigurationError, match="can't read frame 1 of"):
        read.extend(StructureFiles([tmp_path / "in.xyz"]))
    (tmp_path / "other.xyz").write_text("1\n\nQq 0 0 0\n")
    with pytest.raises(ConfigurationError, match="can't read frame 0 of"):
        list(StructureFiles([tmp_path / "other.xyz"]))
