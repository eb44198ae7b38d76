"""The documentation keeps its promises: links lead somewhere, cited sections exist, commands have their options."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if not p.name.endswith(".in.md") and DOCS / "data" not in p.parents)
TEXTS = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")), *PAGES]
TEXTS += [ROOT / folder / "README.md" for folder in ("sample_reports", "examples")]
GENERATED = {"validation-loop.md"}
"""Pages with logs of programs in them, as they were printed."""

_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+(?:\([^()]*\))?)\)")
_NUMBER = r"\d+(?:\.\d+)?"
_ASIDE = r"(?:\s*\([^()]*\))?"
_CITED = re.compile(
    rf"\b[Ss]ections?\s+({_NUMBER}{_ASIDE}(?:(?:,\s*and\s+|,\s*|\s+and\s+|\s+to\s+|-){_NUMBER}{_ASIDE})*)"
)
_EQUATION = re.compile(r"\bEq\.\s*(\d+)")


def without_code(text: str) -> str:
    """Return Markdown with the content of fenced code left out."""
    lines, fence = [], ""
    for line in text.splitlines():
        mark = re.match(r"\s*(`{3,})", line)
        if mark and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
        lines.append("" if fence else line)
    return "\n".join(lines)


def anchors(text: str) -> set[str]:
    """Return the anchors that the headings of a page have, as mkdocs and GitHub make them."""
    titles = re.findall(r"^#+\s+(.*?)\s*$", without_code(text), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


def cited(text: str) -> set[str]:
    """Return the section numbers that a text cites, ranges written out; line breaks in comments count as spaces."""
    flat = re.sub(r"\n\s*(?:#|--)?\s*", " ", text)
    numbers: set[str] = set()
    for group in _CITED.findall(flat):
        for first, last in re.findall(rf"({_NUMBER})(?:(?:\s+to\s+|-)(\d+))?", re.sub(r"\([^()]*\)", "", group)):
            numbers |= {str(n) for n in range(int(first), int(last) + 1)} if last else {first}
    return numbers


def code_that_cites() -> Iterator[Path]:
    """Yield the files whose comments cite sections of the method."""
    for folder in ("taxbreak_nsys", "sql", "recipes", "tests/oracle"):
        yield from (p for p in sorted((ROOT / folder).rglob("*")) if p.suffix in {".py", ".sql", ".toml"})


def test_cited_sections_are_read_from_text() -> None:
    assert cited("Method sections 1 (2 words), 3 (and so on) and 4 (T_sys).") == {"1", "3", "4"}
    assert cited("method sections 4 and 5; section 2.1,\n# section\n# 6.") == {"4", "5", "2.1", "6"}
    assert cited("sections 1-3 and 7") == {"1", "2", "3", "7"}


def test_cited_sections_exist() -> None:
    method = (DOCS / "method.md").read_text(encoding="utf-8")
    present = set(re.findall(r"^##+ (\d+(?:\.\d+)?)\.? ", method, re.MULTILINE))
    equations = set(_EQUATION.findall(method))
    citations = {path: path.read_text(encoding="utf-8") for path in code_that_cites()}
    missing = [
        f"{path.relative_to(ROOT)} cites {what}, which docs/method.md does not have"
        for path, text in citations.items()
        for what in [
            *(f"section {number}" for number in sorted(cited(text) - present)),
            *(f"Eq. {number}" for number in sorted(set(_EQUATION.findall(text)) - equations)),
        ]
    ]
    assert not missing, "\n".join(missing)
    assert set.union(*map(cited, citations.values())) >= {"1", "2", "3", "4", "5", "6", "7"}


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in _LINK.findall(without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target}: no such file"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{target}: no such heading"


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_named_exist(page: Path) -> None:
    folders = "taxbreak_nsys|sql|tests|docs|benchmarks|fuzz|examples|recipes|sample_reports"
    named = re.findall(rf"`(?:python )?((?:{folders})/[\w./-]+)", page.read_text(encoding="utf-8"))
    missing = [name for name in named if not (ROOT / name).exists()]
    assert page.name in GENERATED or not missing, f"no such file: {', '.join(missing)}"


def test_architecture_has_one_sentence_for_each_folder() -> None:
    rows = re.findall(
        r"^\| `(\w+)/` \| (\S.*?) \|$", (DOCS / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    folders = {path.name for path in (ROOT / "taxbreak_nsys").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert sorted(name for name, _ in rows) == sorted(folders)


def test_architecture_names_files_of_the_package() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for name in re.findall(r"`([\w./]+/[\w.]*\w)`", text):
        assert (ROOT / "taxbreak_nsys" / name).exists() or (ROOT / name).exists(), name


def test_every_page_is_reached() -> None:
    listed = set(re.findall(r":\s*(\S+\.md)\s*$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == {str(page.relative_to(DOCS)) for page in PAGES}, "docs/ and the nav of mkdocs.yml differ"
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page not in PAGES:
            continue
        reached.add(page)
        targets = _LINK.findall(without_code(page.read_text(encoding="utf-8")))
        waiting += [(page.parent / target.partition("#")[0]).resolve() for target in targets]
    assert reached == set(PAGES), "pages that no link from docs/index.md leads to"


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in GENERATED], ids=lambda path: path.name)
def test_lists_and_tables_follow_an_empty_line(page: Path) -> None:
    """GitHub shows a list right below a paragraph, mkdocs makes it a part of the paragraph."""
    item, before = re.compile(r"[-*] |\d+\. |\|"), ""
    for number, line in enumerate(without_code(page.read_text(encoding="utf-8")).splitlines(), 1):
        in_paragraph = before.strip() and not item.match(before.lstrip()) and not before.startswith((" ", "#"))
        assert not (item.match(line) and in_paragraph), f"line {number}: put an empty line before {line!r}"
        before = line


def test_site_builds(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra dev)")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert (tmp_path / "site" / "glossary.html").is_file()
    assert not (tmp_path / "site" / "data").exists()


@cache
def options_by_command() -> dict[str, set[str]]:
    """Return the options of each command of the program, sub-commands as `store query`."""
    import typer.main

    from taxbreak_nsys.cli.all_commands import app

    def walk(command: object, name: str) -> Iterator[tuple[str, set[str]]]:
        yield name, {text for p in command.params for text in (*p.opts, *p.secondary_opts)} | {"-h", "--help"}  # type: ignore[attr-defined]
        for sub, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{name} {sub}".strip())

    return dict(walk(typer.main.get_command(app), ""))


def commands_shown(text: str) -> Iterator[list[str]]:
    """Yield the words behind `taxbreak-nsys` in each command of a page's code, up to the profiled program's."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    for command in [*lines, *re.findall(r"`(taxbreak-nsys [^`]*)`", text)]:
        found = re.match(r"(?:[A-Z_]+=\S+ )*\s*(?:eval \"\$\()?taxbreak-nsys (.*)", command)
        if found and found[1].count('"') % 2 == 0:
            yield [word for word in shlex.split(found[1].split(" -- ")[0], comments=True) if word != "…"]


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_shown_have_their_options(page: Path) -> None:
    if page.name in GENERATED:
        pytest.skip("shows logs of earlier versions")
    known = options_by_command()
    for words in commands_shown(page.read_text(encoding="utf-8")):
        names = [" ".join(words[:2]), words[0], "analyze"]
        command = next(name for name in names if name in known)
        used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        unknown = used - known[command] - known[""]
        assert not unknown, f"taxbreak-nsys {' '.join(words)}: {command} has no {', '.join(sorted(unknown))}"


def test_every_command_is_shown() -> None:
    shown = "\n".join(page.read_text(encoding="utf-8") for page in TEXTS)
    known = options_by_command()
    groups = {"", "analyze", *(name.split()[0] for name in known if " " in name)}
    missing = [name for name in known if name not in groups and f"taxbreak-nsys {name}" not in shown]
    assert not missing, f"no page shows {missing}"
