"""What MkDocs does besides the pages as they are: formulas, pictures, the command line.

Formulas become MathML, which browsers draw by themselves, so that the site needs no script
and no font from elsewhere. ``results`` lies outside of ``docs``; its pictures are put on the
site under the links by which the pages call them. The page on the command line is written
from the commands themselves.
"""

import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]

# MathML draws script letters by their own characters only.
SCRIPT = {"L": "ℒ", "E": "ℰ", "N": "𝒩"}


def on_files(files, config):
    """Add the recorded pictures and the page on the command line."""
    for picture in sorted((ROOT / "results").rglob("*.png")):
        link = picture.relative_to(ROOT).as_posix()
        files.append(File.generated(config, link, abs_src_path=str(picture)))
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    return files


def command_line() -> str:
    """The page on every command, from the commands' own help."""
    from lazyrich.cli import app

    text = app.generate_docs(output_format="markdown")
    # The theme has a table of contents of its own.
    text = re.sub(r"## Table of Contents\n.*?(?=\*\*Commands)", "", text, flags=re.DOTALL)
    return re.sub(r"\A# lazyrich", "# Command line", text)


def on_page_markdown(markdown, **_):
    """Point links into ``results`` to where its pictures are on the site."""
    return markdown.replace("](../../results/", "](../results/")


def on_page_content(content, **_):
    """Turn formulas into MathML."""
    content = re.sub(
        r'<div class="arithmatex">\\\[(.*?)\\\]</div>',
        lambda found: f'<div class="formula">{as_mathml(found[1], "block")}</div>',
        content,
        flags=re.DOTALL,
    )
    return re.sub(
        r'<span class="arithmatex">\\\((.*?)\\\)</span>',
        lambda found: as_mathml(found[1], "inline"),
        content,
        flags=re.DOTALL,
    )


def as_mathml(formula: str, display: str) -> str:
    """A formula of the page, which is escaped, as MathML."""
    formula = html.unescape(formula).strip()
    formula = re.sub(r"\\mathcal\s*\{?([A-Z])\}?", lambda found: SCRIPT[found[1]], formula)
    return convert(formula, display=display)
