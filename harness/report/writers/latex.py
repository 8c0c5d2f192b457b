r"""LaTeX: one file that compiles alone and can also be ``\input`` into a paper."""

import unicodedata
from collections.abc import Sequence

from harness.report.tables.table import CHECK, MARKED, Row, Table, TableCell
from harness.report.writers.pagination import LONG_NAME, is_wide, parts_of
from harness.report.writers.repeats import said_once

#: Characters pdfLaTeX reads as commands, and those beyond Latin that scores, units and names need.
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "†": r"\textsuperscript{\dag}",
    "‡": r"\textsuperscript{\ddag}",
    "✓": r"$\checkmark$",
    "·": r"\textperiodcentered{}",
    "°": r"\textdegree{}",
    **{raised: rf"\textsuperscript{{{number}}}" for number, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "λ": r"$\lambda$",
    "σ": r"$\sigma$",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
    "\u00a0": "~",
    "\n": " ",
}

#: ``\@nodocument`` is an error message until ``\begin{document}`` and empty after it, which tells if we are in a paper.
_HEAD = r"""% Needs in your preamble:
% \usepackage[T1]{fontenc}
% \usepackage{textcomp,amssymb,array,booktabs,adjustbox}
\expandafter\ifx\csname @nodocument\endcsname\relax
  \def\harnessend{}%
\else
  \documentclass[10pt]{article}
  \usepackage[T1]{fontenc}
  \usepackage[utf8]{inputenc}
  \IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
  \usepackage{textcomp,amssymb,array,booktabs,adjustbox}
  \usepackage[a4paper,%smargin=2cm]{geometry}
  \def\harnessend{\end{document}}
  \begin{document}
\fi
"""


def escape_latex(text: str) -> str:
    """Makes any text safe for pdfLaTeX; a character it cannot set becomes its plain form or its code point."""
    safe = "".join(_ESCAPES[each] if each in _ESCAPES else _settable(each) for each in text)
    return safe.replace("--", "-{}-")  # two hyphens of an option are not a dash


#: Characters of two lines of a caption at 10 points, with the words "Table 12:"; on a page that is turned, more.
_TWO_LINES, _TWO_LINES_TURNED = 180, 290


def latex_document(tables: Sequence[Table], remark: str = "") -> str:
    r"""Sets all tables; ``\input`` it inside a document, or compile it as it is; the remark becomes a comment."""
    turned = any(is_wide(table) for table in tables)
    told = said_once(tables, _TWO_LINES_TURNED if turned else _TWO_LINES)
    floats = "\n".join(_float(part) for table in told for part in parts_of(table, turned=turned))
    head = _HEAD.replace("%s", "landscape," if turned else "")
    comment = f"% {remark}\n" if remark else ""
    return f"{comment}{head}\n{floats}\n\\harnessend\n"


def _settable(character: str) -> str:
    # T1 with utf8 sets printable ASCII, Latin-1 letters and Latin Extended-A.
    if " " <= character <= "~" or "¡" <= character <= "ſ":
        return character
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or f"[U+{ord(character):04X}]"


def _float(table: Table) -> str:
    caption = " ".join(escape_latex(sentence) for sentence in table.caption)
    if table.marked:
        caption += rf" \textbf{{Best}} and \underline{{second}} {table.marked} are marked; {MARKED}."
    notes = " ".join(escape_latex(note) for note in table.notes)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{table.name}}}",
        # LaTeX leaves its space under a caption for captions below; this one stands above.
        r"\par\smallskip",
        r"\begin{adjustbox}{max width=\linewidth}",
        *_tabular(table),
        r"\end{adjustbox}",
        r"\par\medskip",
        r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
        notes,
        r"\end{minipage}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _tabular(table: Table) -> list[str]:
    heads = len(table.row_header)
    spans, rules, first = [], [], heads + 1
    for name, width in table.groups:
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(name)}}}")
        if name:
            rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    names = [*table.row_header, *(column.title for column in table.columns)]
    variants = [_row(row) for row in table.rows if not row.is_floor]
    floors = [_row(row) for row in table.rows if row.is_floor]
    return [
        rf"\begin{{tabular}}{{{_first_column(table)}{_more_columns(table)}{'c' * len(table.columns)}}}",
        r"\toprule",
        *([_line([*[""] * heads, *spans]), "".join(rules)] if rules else []),
        _line([escape_latex(name) for name in names]),
        r"\midrule",
        *variants,
        *([r"\midrule", *floors] if floors else []),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _first_column(table: Table) -> str:
    """Breaks long names, so that one of them does not shrink the whole table."""
    longest = max((len(row.header[0]) for row in table.rows), default=0)
    return "l" if longest <= LONG_NAME else r">{\raggedright\arraybackslash}p{4.6cm}"


def _more_columns(table: Table) -> str:
    """Centres columns of check marks; names are set flush left."""
    columns = zip(*(row.header[1:] for row in table.rows), strict=True)
    return "".join("c" if CHECK in column else "l" for column in columns)


def _line(parts: list[str]) -> str:
    return f"{' & '.join(parts)} \\\\"


def _row(row: Row) -> str:
    heads = [escape_latex(head) for head in row.header]
    if row.is_floor:
        heads = [rf"\textit{{{head}}}" for head in heads]
    # A row that begins with "[" would be read as the length that \\ takes.
    if heads[0].startswith("["):
        heads[0] = f"{{}}{heads[0]}"
    return _line([*heads, *(_entry(entry) for entry in row.cells)])


def _entry(entry: TableCell) -> str:
    main = escape_latex(entry.main)
    if entry.is_word:
        return rf"\textit{{{main}}}"
    main = {"best": rf"\textbf{{{main}}}", "second": rf"\underline{{{main}}}"}.get(entry.mark, main)
    return f"{main}{escape_latex(entry.tail)}"
