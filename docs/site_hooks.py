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

from lazyrich.explorer import Document, figure_links, page_text, read_document
from lazyrich.explorer._document import Curves
from lazyrich.explorer._page import FIGURES

ROOT = Path(__file__).parents[1]

# Of the recorded runs the page of a figure has these curves, and about so many records of each.
SHOWN = ("train_loss", "test_loss", "test_accuracy", "weight_norm", "population_alignment")
MOST_RECORDS = 60

LONG = 60  # characters of a formula that do not fit on a phone

# MathML draws script letters by their own characters only.
SCRIPT = {"L": "ℒ", "E": "ℰ", "N": "𝒩"}


def on_files(files, config):
    """Add the recorded pictures and the page on the command line."""
    for picture in sorted((ROOT / "results").rglob("*.png")):
        link = picture.relative_to(ROOT).as_posix()
        files.append(File.generated(config, link, abs_src_path=str(picture)))
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    files.append(File.generated(config, "explore.html", content=page_text()))
    for recorded in recorded_figures():
        link = f"explore/{recorded.stem}.html"
        files.append(File.generated(config, link, content=explorer_page(recorded)))
    return files


def recorded_figures() -> list[Path]:
    """The files of the figures that were computed."""
    return sorted((ROOT / "results").glob("fig*.nc"))


def explorer_page(recorded: Path) -> str:
    """The page in the browser, with the runs of the largest panel of a figure."""
    document = read_document(recorded)
    curves = [
        Curves(
            one.steps[:: max(1, len(one.steps) // MOST_RECORDS)],
            {
                name: values[:: max(1, len(one.steps) // MOST_RECORDS)]
                for name, values in one.values.items()
                if name in SHOWN
            },
        )
        for one in document.curves
    ]
    units = document.index["quantities"]
    shown = {name: unit for name, unit in units.items() if name in SHOWN}
    title = f"Recorded runs of {recorded.stem.replace('fig', 'Figure ')}, quick preset"
    index = document.index | {"quantities": shown, "title": title}
    return page_text(Document(index, curves).with_curves())


def command_line() -> str:
    """The page on every command, from the commands' own help."""
    from lazyrich.cli import app

    text = app.generate_docs(output_format="markdown")
    # The name of a module that is run by ``python -m``, such as MkDocs itself.
    text = text.replace(" -m mkdocs", "")
    # The theme has a table of contents of its own.
    text = re.sub(r"## Table of Contents\n.*?(?=\*\*Commands)", "", text, flags=re.DOTALL)
    return re.sub(r"\A# lazyrich", "# Command line", text)


def on_page_markdown(markdown, page, **_):
    """Point links into ``results`` to where its pictures are; link figures to the explorer.

    Pictures of several panels open at full size, which a phone needs.
    """
    markdown = markdown.replace("](../../results/", "](../results/")
    markdown = re.sub(r"^(!\[[^\]]*\]\(([^)]+\.png)\))$", r"[\1](\2)", markdown, flags=re.MULTILINE)
    name = re.fullmatch(r"figures/(fig\d+)\.md", page.file.src_uri)
    if name is None or f"{name[1]}.nc" not in [path.name for path in recorded_figures()]:
        return markdown
    page_of = f"../explore/{name[1]}.html"
    links = [f"[Look into the recorded runs in the browser]({page_of}#view=runs)"]
    if name[1] in figure_links():
        is_printed = all(one["is_printed"] for one in FIGURES if one["figure"] == name[1])
        words = "Train the authors' own draw" if is_printed else "Train a smaller version"
        links.insert(0, f"[{words} in the browser]({page_of}{figure_links()[name[1]]})")
    title, _, rest = markdown.partition("\n")
    return f"{title}\n\n{' · '.join(links)}\n{rest}"


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
        lambda found: in_a_line(found[1]),
        content,
        flags=re.DOTALL,
    )


def in_a_line(formula: str) -> str:
    """A formula within text as MathML; a long one scrolls by itself on a phone."""
    text = as_mathml(formula, "inline")
    return f'<span class="long-formula">{text}</span>' if len(formula) > LONG else text


def as_mathml(formula: str, display: str) -> str:
    """A formula of the page, which is escaped, as MathML."""
    formula = html.unescape(formula).strip()
    formula = re.sub(r"\\mathcal\s*\{?([A-Z])\}?", lambda found: SCRIPT[found[1]], formula)
    return convert(formula, display=display)
