"""What is written on an invoice: numbers with valid check digits, dates, amounts."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import Enum

import numpy as np

from .fields import Field

_FIRST_DAY = dt.date(2023, 1, 2)
_DAYS = 900
_PAYMENT_TERMS = (10, 15, 20, 30, 30, 30)
_MONTHS = ("jan", "feb", "mar", "apr", "maj", "jun", "jul", "aug", "sep", "okt", "nov", "dec")
_GOODS = (
    "Konsulttid", "Frakt", "Papper A4", "Service", "Licens", "Montering", "Kaffe", "Skruv M8",
    "Hyra", "Reservdel", "Support", "Transport", "Trycksak", "Virke", "Olja 5W30", "Batteri",
)  # fmt: skip
_BUYERS = (
    ("Ekdal Bygg AB", "Storgatan 4", "582 24 Linköping"),
    ("Havsbris Hotell", "Strandvägen 18", "261 31 Landskrona"),
    ("Norrsken El AB", "Kungsgatan 77", "972 36 Luleå"),
    ("Lindens Café", "Torget 2", "722 11 Västerås"),
    ("Alm & Söner HB", "Industrigatan 9", "504 62 Borås"),
    ("Vista Data AB", "Sveavägen 101", "113 50 Stockholm"),
)


class DateStyle(Enum):
    """How a supplier writes a date."""

    ISO = "2025-03-12"
    WORDS = "12 mar 2025"
    DOTS = "12.03.2025"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table of goods; the price is in whole kronor."""

    text: str
    quantity: int
    price: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """The content of one document, before any layout."""

    number: str
    issued: dt.date
    due: dt.date
    org_number: str
    bankgiro: str
    buyer: tuple[str, str, str]
    lines: tuple[Line, ...]

    @property
    def total(self) -> int:
        """The amount to pay with 25 % VAT, in whole kronor."""
        return round(sum(line.quantity * line.price for line in self.lines) * 1.25)


def luhn_digit(digits: str) -> str:
    """The Luhn check digit of a string of digits, as bankgiro and organisation numbers use it."""
    total = 0
    for position, char in enumerate(reversed(digits)):
        value = int(char) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def amount_text(kronor: int) -> str:
    """A Swedish amount: `12 345,00`."""
    return f"{kronor:,}".replace(",", " ") + ",00"


def date_text(day: dt.date, style: DateStyle) -> str:
    """A date as that supplier writes it."""
    match style:
        case DateStyle.ISO:
            return day.isoformat()
        case DateStyle.WORDS:
            return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
        case DateStyle.DOTS:
            return f"{day.day:02d}.{day.month:02d}.{day.year}"


def org_number(rng: np.random.Generator) -> str:
    """A limited company's organisation number with its check digit: `556ddd-dddd`."""
    stem = f"556{rng.integers(100_000, 1_000_000)}"
    digits = stem + luhn_digit(stem)
    return f"{digits[:6]}-{digits[6:]}"


def bankgiro(rng: np.random.Generator) -> str:
    """An eight-digit bankgiro number with its check digit: `dddd-dddd`."""
    stem = str(rng.integers(1_000_000, 10_000_000))
    digits = stem + luhn_digit(stem)
    return f"{digits[:4]}-{digits[4:]}"


def draw_invoice(rng: np.random.Generator, *, number: str, org: str, giro: str, max_lines: int) -> Invoice:
    """One invoice of a supplier, its content drawn from `rng`; it has 2 to `max_lines` rows."""
    issued = _FIRST_DAY + dt.timedelta(days=int(rng.integers(_DAYS)))
    terms = _PAYMENT_TERMS[int(rng.integers(len(_PAYMENT_TERMS)))]
    rows = int(rng.integers(2, max_lines + 1))
    goods = rng.permutation(len(_GOODS))[:rows]
    return Invoice(
        number=number,
        issued=issued,
        due=issued + dt.timedelta(days=terms),
        org_number=org,
        bankgiro=giro,
        buyer=_BUYERS[int(rng.integers(len(_BUYERS)))],
        lines=tuple(Line(_GOODS[int(g)], int(rng.integers(1, 20)), int(rng.integers(2, 180)) * 10) for g in goods),
    )


def field_text(invoice: Invoice, field: Field, dates: DateStyle) -> str:
    """What the page says for a field."""
    match field:
        case Field.INVOICE_NUMBER:
            return invoice.number
        case Field.INVOICE_DATE:
            return date_text(invoice.issued, dates)
        case Field.DUE_DATE:
            return date_text(invoice.due, dates)
        case Field.AMOUNT_TOTAL:
            return f"{amount_text(invoice.total)} kr"
        case Field.SUPPLIER_ORG_NUMBER:
            return invoice.org_number
        case Field.BANKGIRO:
            return invoice.bankgiro
