"""A table of text: for the terminal, for Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Parameters
    ----------
    title : str
    left, right : sequence of str
        Names of the columns to the left, which are words, and of the rest, which are numbers.
    rows : sequence of sequence of str
    """

    title: str
    left: Sequence[str]
    right: Sequence[str]
    rows: Sequence[Sequence[str]] = field(repr=False)

    def rich(self) -> "Table":
        """Return it for a terminal; a line break in a column's name stays one."""
        from ..tables import plain_table

        table = plain_table(self.title, self.left, self.right)
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return it as Markdown."""
        names = [" ".join(name.split()) for name in (*self.left, *self.right)]
        rule = ["---"] * len(self.left) + ["---:"] * len(self.right)
        lines = [f"### {self.title}", "", *(_line(row) for row in (names, rule, *self.rows))]
        return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
