"""Reports: HTML, CSV and JSON of a comparison."""

from __future__ import annotations

import csv
import html.parser
import json
import re
import sys

import numpy as np
import pytest

from rootstock import reports
from rootstock.errors import ConfigurationError, OutputError
from rootstock.workflows.compare import compare
from tests.support.comparisons_of_models import crystals, model


@pytest.fixture(scope="module")
def comparison():
    """Three models, of which the last one does not know sodium."""
    models = [model(1, "a"), model(2, "b<i>"), model(4, "c", unknown=[11])]
    return compare(crystals(6), models, tests=["eos"], command="rootstock compare 'a b'")


@pytest.fixture(scope="module")
def page(comparison, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    reports.write_html(comparison, path)
    return path.read_text()


class Parser(html.parser.HTMLParser):
    """Collects attributes, and whether elements are closed in order."""

    VOID = ("meta", "link", "br", "path", "use", "image", "rect", "circle")

    def __init__(self):
        super().__init__()
        self.stack, self.attributes = [], []

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.stack.pop() == tag


def parsed(page):
    parser = Parser()
    parser.feed(page)
    assert not parser.stack
    return parser.attributes


def test_the_page_is_self_contained_and_well_formed(page):
    for tag, name, value in parsed(page):
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("#", "data:")), (tag, name, value)
    assert not re.search(r"@import|url\((?!#)", page)
    assert len(page) < 1e6


def test_identifiers_are_unique_and_figures_have_texts(page):
    attributes = parsed(page)
    names = [value for _, name, value in attributes if name == "id"]
    assert len(names) == len(set(names))
    for reference in re.findall(r'(?:href="|url\()#([^")]+)', page):
        assert reference in names
    labels = [value for tag, name, value in attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == page.count("<svg") >= 2 + 3 + 1 + 2 + 4
    assert all(len(label) > 30 for label in labels)


def test_what_users_write_is_escaped(page):
    assert "b<i>" not in page
    assert "b&lt;i&gt;" in page
    assert "rootstock compare &#39;a b&#39;" in page


def test_the_page_has_what_was_found(page, comparison):
    text = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert "3 models on 6 structures" in text
    assert "3 of 6 structures were evaluated by all models that ran." in text
    assert "Failures" in text and "KeyError" in text
    for curve in comparison.eos:
        if curve.result is not None:
            assert f"{curve.result.B0_GPa:.4g}" in text


def test_the_page_of_a_hundred_structures_is_small(tmp_path):
    many = compare(crystals(100), [model(k, f"model {k}") for k in (1, 2, 3, 5)], tests=["eos"])
    path = tmp_path / "report.html"
    reports.write_html(many, path)
    assert path.stat().st_size < 5e6
    assert "data:image/png" in path.read_text()  # too many points for vectors


def test_a_page_without_anything_to_show(tmp_path):
    models = [model(k, f"model {k}", unknown=[29, 11]) for k in (1, 2)]
    nothing = compare(crystals(2), models)
    path = tmp_path / "report.html"
    reports.write_html(nothing, path)
    assert "failed for all structures" in path.read_text()


def test_structures_of_one_model_have_no_pair(page):
    rows = re.findall(r"<tr>.*?</tr>", page.partition('id="structures"')[2])
    texts = [re.sub(r"<[^>]+>", "|", row) for row in rows]
    (salt,) = [text for text in texts if "Cl4Na4" in text and re.search(r"\|1\|", text)][:1]
    assert "a / b&lt;i&gt;" in salt and "|c|" in salt


def test_json_has_everything(comparison, tmp_path):
    path = tmp_path / "report.json"
    reports.write(comparison, path)
    document = json.loads(path.read_text())
    assert [m["label"] for m in document["models"]] == ["a", "b<i>", "c"]
    np.testing.assert_array_equal(
        document["forces_eV_per_A"][0], comparison.forces_eV_per_A[0].tolist()
    )
    assert document["energies_eV"][2][1] is None  # NaN
    assert document["eos"][0]["result"]["B0_GPa"] == comparison.eos[0].result.B0_GPa
    assert document["provenance"]["command"] == "rootstock compare 'a b'"


def test_csv_has_a_row_for_each_structure_and_model(comparison, tmp_path):
    path = tmp_path / "report.csv"
    reports.write(comparison, path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 18
    assert [row["model"] for row in rows[:3]] == ["a", "b<i>", "c"]
    positions = crystals(1)[0].positions
    assert float(rows[1]["fmax_eV_per_A"]) == pytest.approx(
        2 * np.linalg.norm(positions, axis=1).max()
    )
    assert float(rows[0]["forces_rmse_eV_per_A"]) == pytest.approx(
        4 / 3 * np.sqrt((positions**2).mean())
    )
    assert rows[5]["energy_eV"] == "" and rows[5]["error"].startswith("ModelError")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("report.pdf", ConfigurationError, "must end with one of .html, .json, .csv"),
        ("missing/report.html", OutputError, "the folder does not exist"),
        ("folder.json", OutputError, "it is a folder"),
    ],
)
def test_outputs_that_are_refused(comparison, tmp_path, name, kind, message):
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(kind, match=message):
        reports.write(comparison, tmp_path / name)


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    from rootstock.reports import output

    monkeypatch.setattr(output, "find_spec", lambda name: None if name == "jinja2" else sys)
    with pytest.raises(ConfigurationError, match=r"needs jinja2: .*'\.\[report\]'"):
        reports.check_output(tmp_path / "report.html")
    reports.check_output(tmp_path / "report.json")


def test_reports_load_no_drawing_library_for_other_formats():
    from tests.support.scripts import output_of

    code = (
        "import sys, rootstock.reports; print('matplotlib' in sys.modules, 'jinja2' in sys.modules)"
    )
    assert output_of(code).strip() == "False False"
