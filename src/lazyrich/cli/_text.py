"""Text that a terminal can show: control characters made visible, symbols spelled in ASCII."""

import codecs
import json
import unicodedata

_GREEK = {
    "α": "alpha",
    "β": "beta",
    "Δ": "Delta",
    "ε": "epsilon",
    "ϵ": "epsilon",
    "γ": "gamma",
    "ȳ": "ymean",
    "\u0302": "^",
    "η": "eta",
    "Θ": "Theta",
    "θ": "theta",
    "κ": "kappa",
    "λ": "lambda",
    "μ": "mu",
    "Π": "Pi",
    "π": "pi",
    "ρ": "rho",
    "Σ": "Sum",
    "σ": "sigma",
    "Φ": "Phi",
    "φ": "phi",
    "ψ": "psi",
    "χ": "chi",
    "ω": "omega",
}
_SIGNS = {
    "→": "->",
    "←": "<-",
    "…": "...",
    "·": "*",
    "×": "x",
    "⊥": "_|_",
    "−": "-",
    "–": "-",
    "—": "-",
    "≥": ">=",
    "≤": "<=",
    "≠": "!=",
    "≈": "~",
    "∼": "~",
    "∝": "~",
    "±": "+-",
    "∞": "inf",
    "√": "sqrt",
    "∂": "d",
    "∇": "grad",
    "∈": "in",
    "∘": "o",
    "⋆": "*",
    "ᵀ": "^T",
    "‖": "||",
    "⟨": "<",
    "⟩": ">",
    "′": "'",
    "″": "''",
    "“": '"',
    "”": '"',
    "’": "'",
    "§": "Sec. ",
    "°": " deg",
    "¼": "1/4",
    "½": "1/2",
    "⅒": "1/10",
    "✓": "yes",
    "✗": "no",
    "⁺": "^+",
    "⁻": "^-",
    "\u0304": "-mean",
    "\u2800": " ",
    "𝓔": "E",
    "𝓛": "L",
    **dict.fromkeys("\u00a0\u2009\u202f", " "),
    **{sign: f"^{n}" for n, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{sign: f"_{n}" for n, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")},
}
SPELLED = _GREEK | _SIGNS
"""What stands for a symbol where the terminal's encoding has none."""

ENCODING_ERRORS = "lazyrich.spelled"


def visible(text: str) -> str:
    r"""The text in one line, with every character that a terminal would obey or hide escaped.

    Control characters (C0, C1), line ends, marks that change the direction of writing,
    other invisible characters, and bytes of file names that are no text.

    Example:
        >>> print(visible("a\x1b[31m\n\u202eb"))
        a\x1b[31m\n\u202eb
    """
    return "".join(map(_visible, str(text)))


def _visible(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return _escaped(character)


def _escaped(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte that Python could not decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(SPELLED.get(one, _escaped(one)) for one in missing), error.end


codecs.register_error(ENCODING_ERRORS, _spelled)


def json_text(value: object) -> str:
    r"""JSON in ASCII, which holds no control character and suits every encoding.

    Example:
        >>> print(json_text({"α": "\x9b"}))
        {
         "\u03b1": "\u009b"
        }
    """
    return json.dumps(value, indent=1).replace("\x7f", "\\u007f")


def has_braille(encoding: str | None) -> bool:
    """Whether a stream of this encoding can show braille dots.

    Example:
        >>> has_braille("utf-8"), has_braille("latin-1"), has_braille(None)
        (True, False, False)
    """
    try:
        "\u28ff".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
