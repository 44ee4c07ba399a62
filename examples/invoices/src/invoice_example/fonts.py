"""The fonts of the pages, from pinned packages: a system font would change the pixels."""

from __future__ import annotations

from enum import Enum
from importlib.util import find_spec
from pathlib import Path

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont


class Family(Enum):
    """A font family: the package that carries it, and its regular and bold files."""

    VERA = ("reportlab", "fonts/Vera.ttf", "fonts/VeraBd.ttf")
    ROBOTO = ("font_roboto", "files/Roboto-Regular.ttf", "files/Roboto-Bold.ttf")
    CALADEA = ("font_caladea", "files/Caladea-Regular.ttf", "files/Caladea-Bold.ttf")
    SOURCE_SERIF = (
        "font_source_serif_pro",
        "files/SourceSerifPro-Regular.ttf",
        "files/SourceSerifPro-Bold.ttf",
    )

    @property
    def regular(self) -> str:
        """The name under which reportlab knows the regular face."""
        return f"{self.name}-regular"

    @property
    def bold(self) -> str:
        """The name under which reportlab knows the bold face."""
        return f"{self.name}-bold"


def register_fonts() -> None:
    """Make every family known to reportlab; calling it again changes nothing.

    Raises:
        RuntimeError: a package that carries a family is not installed.
    """
    known = set(pdfmetrics.getRegisteredFontNames())
    for family in Family:
        package, regular, bold = family.value
        for name, file in ((family.regular, regular), (family.bold, bold)):
            if name not in known:
                pdfmetrics.registerFont(TTFont(name, _package_folder(package) / file))


def _package_folder(package: str) -> Path:
    # find_spec does not import: the font packages glob their files when imported.
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"fonts: the package {package} is not installed; install requirements.txt of the example")
    return Path(next(iter(spec.submodule_search_locations)))


def text_width(text: str, font: str, size: float) -> float:
    """The width of a text in points."""
    return float(pdfmetrics.stringWidth(text, font, size))
