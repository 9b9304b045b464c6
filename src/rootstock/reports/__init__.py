"""Reports: results of workflows as HTML, CSV and JSON. Computes nothing."""

from .output import FORMATS, check_output, write, write_csv, write_html, write_json

__all__ = ["FORMATS", "check_output", "write", "write_csv", "write_html", "write_json"]
