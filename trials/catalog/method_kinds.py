"""The kinds of methods, and what one may need of a model."""

import difflib

# kind -> (package, verbs): the first verb that a file defines is its one public function
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "datasets": ("trials.datasets", ("load",)),
    "models": ("trials.models", ("build",)),
    "recipes": ("trials.recipes", ("fit",)),
    "attacks": ("trials.attacks", ("poison", "craft", "implant")),
    "filters": ("trials.filters", ("score",)),
    "defenses": ("trials.defenses", ("repair",)),
    "detectors": ("trials.detectors", ("score",)),
    "games": ("trials.games", ("play",)),
    "spaces": ("search_spaces", ("space",)),
    "detector_spaces": ("search_spaces.detectors", ("space",)),
    "filter_spaces": ("search_spaces.filters", ("space",)),
    "recipe_spaces": ("search_spaces.recipes", ("space",)),
}
# what a defense does: what copies tell of one family need not hold for another
FAMILIES = (
    "fine_tuning",  # of all weights, with a loss on clean images
    "head_shift",  # a new classifier, so that the features before it move
    "pruning",  # of channels
    "perturbation",  # against perturbed images or weights
    "inversion",  # of triggers, which are then unlearned
    "control",  # repairs nothing
    "other",
)
# what a defense, detector or filter may need of a model (trials.classifier finds it)
NEEDS = ("head", "norms", "paired_norms", "prunable", "scales", "stages", "trained_head")


def unknown(what: str, given: str, known: list[str]) -> str:
    """One line for a name that is not known, with the nearest that is."""
    near = difflib.get_close_matches(str(given), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {given!r}.{hint} Known: {', '.join(known) or 'none'}."
