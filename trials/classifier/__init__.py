"""What a model offers to defenses and detectors, whatever its architecture, and what it lacks."""

from trials.classifier._cache import hand_on
from trials.classifier._head import Head
from trials.classifier._prunable import Prunable
from trials.classifier._stages import Stage, numbered
from trials.classifier.capabilities import WHAT, Classifier, require, wants
from trials.classifier.features import with_features, with_latents
from trials.classifier.inputs import with_inputs

__all__ = [
    "WHAT",
    "Classifier",
    "Head",
    "Prunable",
    "Stage",
    "hand_on",
    "numbered",
    "require",
    "wants",
    "with_features",
    "with_inputs",
    "with_latents",
]
