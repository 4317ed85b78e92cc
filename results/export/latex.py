r"""A table as LaTeX, to be read in with ``\input``; it needs the package ``booktabs``.

Every cell and header is escaped, so that no name can be taken for a command. Greek letters and the
like become mathematics, because pdfLaTeX does not know them as letters.
"""

import math
import re
from typing import Any

import pandas as pd

_ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "η": r"$\eta$", "ρ": r"$\rho$", "Δ": r"$\Delta$", "κ": r"$\kappa$", "λ": r"$\lambda$",
    "θ": r"$\theta$", "–": "--", "—": "---", "\u2212": "$-$", "×": r"$\times$", "→": r"$\to$",
    "≥": r"$\geq$", "≤": r"$\leq$",
    "’": "'", "\u00a0": "~", "\n": " ", "\r": " ",
}  # fmt: skip


def latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """The frame as a floating ``table``; numbers to the right, gaps as dashes.

    Args:
        table: one of ``results.tables``.
        caption: plain text.
        label: for references; kept to letters, digits, ``:`` and ``-``.
    """
    sides = "".join("r" if _numeric(table[c]) else "l" for c in table.columns)
    names = [str(c) for c in table.columns]
    head = " & ".join(map(escape, names))
    body = [" & ".join(map(_cell, names, row)) for row in table.itertuples(index=False)]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{{re.sub(r'[^A-Za-z0-9:-]', '-', label)}}}",
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        *(rf"{row} \\" for row in body),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX sets as it is written."""
    return "".join(_ESCAPED.get(sign, sign) for sign in text)


def _cell(name: str, given: Any) -> str:
    if given is None or given is pd.NA or (isinstance(given, float) and not math.isfinite(given)):
        return "--"
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, float):
        percent = "(%" in name or "(pp)" in name
        text = f"{given:g}" if name == "r (%)" else f"{given:.1f}" if percent else f"{given:.3g}"
        return f"$-${text[1:]}" if text.startswith("-") and float(text) else text.removeprefix("-")
    return escape(str(given))


def _numeric(column: "pd.Series[Any]") -> bool:
    seen = [v for v in column if v is not None]
    return bool(seen) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in seen)
