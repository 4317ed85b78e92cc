"""What was made of a given model and its trusted images before anything was spent.

``sweep.commands.understanding`` finds it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from results.selection.labels import percent
from results.stats.intervals import wilson

SHOWN = 12  # classes of a larger number that are named: those that the model knows least


@dataclass(frozen=True, slots=True)
class Class:
    """One class folder, in the order of the model's outputs."""

    name: str
    images: int
    recall: float  # share of its images that the model gives this class
    taken_for: str  # the class that it gives most of the others; empty where it gives none


@dataclass(frozen=True, slots=True)
class Reading:
    """The images read in another way, and how much the model then gets right of the sample."""

    name: str
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """All fractions in [0, 1]."""

    model_sha256: str
    images_sha256: str  # of the lines that sha256sum prints for the images, sorted by path
    images: int
    size: int
    flip: bool
    classes: tuple[Class, ...]
    skipped: Mapping[str, int]  # why a file is not used -> files
    converted: Mapping[str, int]  # what is done to an image -> images
    accuracy: float
    sample: int  # images that readings are compared on
    as_given: float  # accuracy on the sample
    readings: tuple[Reading, ...]  # other ones, the best first
    warnings: tuple[str, ...]
    # why a file is not used -> names of some such files
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    weights: str = ""  # a sentence: what was taken of the model's file
    prepared: tuple[str, ...] = ()  # sentences: size and normalisation of the images, and why
    order: str = ""  # a sentence: which output each class is, where that is not plain

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> tuple[str, ...]:
        """Sentences for a person, without the warnings."""
        counts = [c.images for c in self.classes]
        each = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        band = wilson(self.accuracy, self.images)
        mirrored = (
            "mirrors half of the images; where a mirrored one has another meaning (signs, text, "
            "digits), give --no-flip (in Python flip=False)"
            if self.flip
            else "mirrors no image"
        )
        on = (
            ""
            if self.sample == self.images
            else f" of {self.sample} of them {percent(self.as_given)} % as given, and"
        )
        best = self.readings[0] if self.readings else None
        return (
            *filter(None, [self.weights, self.order]),
            *self.prepared,
            f"{self.images} trusted images, {each} of each of {len(self.classes)} classes. "
            f"Training {mirrored}.",
            f"Not used: {self._not_used()}." if self.skipped else "Every file is used.",
            f"Changed: {_counts(self.converted)}."
            if self.converted
            else "No image needs to be changed.",
            f"The model gets {percent(self.accuracy)} % of them right (95 % interval "
            f"{percent(band.low)} – "
            f"{percent(band.high)} %).",
            *(
                [
                    f"Read in other ways it gets at most{on} {percent(best.accuracy)} % "
                    f"({best.name})."
                ]
                if best
                else []
            ),
        )

    def _not_used(self) -> str:
        parts = []
        for why, n in self.skipped.items():
            names = [repr(name) for name in self.examples.get(why, ())]
            end = ", ..." if len(names) < n else ""
            parts.append(f"{n} {why}" + (f" ({', '.join(names)}{end})" if names else ""))
        return ", ".join(parts)

    def listed(self) -> tuple[Class, ...]:
        """The classes that a table shows: all, or of many those that the model knows least."""
        if len(self.classes) <= 2 * SHOWN:
            return self.classes
        return tuple(sorted(self.classes, key=lambda c: c.recall)[:SHOWN])


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items())
