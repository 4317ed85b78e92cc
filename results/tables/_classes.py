"""How well a given model knows each class of its trusted images; of many classes those that it
knows least.
"""

import pandas as pd

from results.selection.understood import Understood
from results.tables._columns import frame, points

COLUMNS = ("class", "images", "right (%)", "others mostly taken for")


def of(understood: Understood, /) -> pd.DataFrame:
    """One row a class folder, in the order of the model's outputs, or of what it knows least."""
    rows = [
        {
            "class": c.name,
            "images": c.images,
            "right (%)": points(c.recall),
            "others mostly taken for": c.taken_for or None,
        }
        for c in understood.listed()
    ]
    return frame(rows, COLUMNS)
