"""Pages of the package that an assistant can read: the method, the glossary, the skill."""

from __future__ import annotations

from taxbreak_nsys.read.sql_files import data_folder

REFERENCES = {
    "method": "How the states, layers, T_sys and HDBI are computed, section by section.",
    "glossary": "The terms in the answers, one sentence each.",
    "skill": "Which tool answers which question, and how to read the answers.",
}
"""The resources by name, each with a description."""
_FILES = {"method": ("docs", "method.md"), "glossary": ("docs", "glossary.md"), "skill": ("skills", "SKILL.md")}


def reference_text(name: str) -> str:
    """Return a page of `REFERENCES` as Markdown; raises KeyError for an unknown name."""
    folder, file = _FILES[name]
    return (data_folder(folder) / file).read_text(encoding="utf-8")
