"""CLIP's image tower as a classifier: pixels in, scaled cosines with the classes' text embeddings
out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trials.models._normalize import Normalize

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


class Preprocess(Normalize):
    """Bicubic scaling to the tower's size, then CLIP's normalisation; differentiable, so gradients
    reach the pixels.
    """

    def __init__(self, size: int) -> None:
        super().__init__((_MEAN, _STD))
        self.size = (size, size)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] != self.size:
            x = F.interpolate(x, self.size, mode="bicubic", antialias=True)
        return super().forward(x)


class FixedLinear(nn.Linear):
    """A linear layer without bias whose weight is a buffer: saved with the model, and never
    trained.

    A frozen parameter would not do: defenses make every parameter of their copy trainable.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias=False)
        del self.weight
        self.register_buffer("weight", weight)


class ClipClassifier(nn.Module):
    """Logits are the scale times the cosines of the image embedding and each class's text
    embedding.

    Args:
        clip: a CLIP of transformers; its image tower, projection and scale become part of this
            model.
        text: (classes, d), of length 1 each.
        frozen: the text embeddings are not trained.
    """

    def __init__(self, clip: nn.Module, text: Tensor, frozen: bool) -> None:
        super().__init__()
        self.normalize = Preprocess(int(clip.config.vision_config.image_size))  # type: ignore[union-attr, arg-type]
        self.vision = clip.vision_model
        self.projection = clip.visual_projection
        self.logit_scale = clip.logit_scale
        self.head: nn.Linear = FixedLinear(text.clone())  # last: its input is the latent
        if not frozen:
            self.head = nn.Linear(text.shape[1], text.shape[0], bias=False)
            self.head.weight.data.copy_(text)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.vision(pixel_values=self.normalize(x)).pooler_output  # type: ignore[operator]
        with torch.autocast(x.device.type, enabled=False):
            # a scale of 100 makes bf16 steps as large as 0.1
            latents = F.normalize(self.projection(pooled.float()), dim=1)  # type: ignore[operator]
            logits: Tensor = self.logit_scale.exp() * self.head(latents)  # type: ignore[operator]
        return logits
