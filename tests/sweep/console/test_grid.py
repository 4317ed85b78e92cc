"""Tables on narrow terminals: words stay whole while they fit, and numbers always."""

from io import StringIO

from rich.console import Console

from sweep.console.grid import Grid


def drawn(width: int) -> str:
    grid = Grid("recipe", "success", "control", words={"recipe"})
    grid.add("gradient_shaping (noise = 0.01)", "25% [5,70]", "17% [3,59]")
    out = StringIO()
    Console(file=out, width=width).print(grid)
    return out.getvalue()


def test_lines_go_before_a_word_is_broken() -> None:
    wide, narrow = drawn(60), drawn(42)
    assert "│" in wide and "gradient_shaping" in wide
    assert "│" not in narrow and "gradient_shaping" in narrow


def test_a_word_is_broken_before_rows_are_paragraphs() -> None:
    said = drawn(34)
    assert "gradient_shaping" not in said and "25% [5,70] 17% [3,59]" in said
