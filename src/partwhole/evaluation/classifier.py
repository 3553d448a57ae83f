"""A frozen encoder and a linear probe as one classifier: what noise, masks and attacks meet."""

import torch
from torch import Tensor, nn
from tqdm import tqdm

from partwhole.data.image_set import ImageSet
from partwhole.errors import BadInput
from partwhole.evaluation.features import encoder_of, normalised
from partwhole.models.resnet import Features


class Classifier(nn.Module):
    """pixels (B, 3, S, S) in [0, 1] -> scores (B, classes); it puts the network in evaluation mode.

    network: a method, an encoder of ours or a torchvision ResNet.  probe: a linear layer on its pooled
    vectors, trained on clean images (logistic.linear_probe_cached).  image_set: says how to normalise.
    BadInput without a probe that fits.
    """

    def __init__(self, network: nn.Module, probe: nn.Linear | None, image_set: ImageSet):
        super().__init__()
        self.encoder, self.mean, self.std = encoder_of(network), image_set.mean, image_set.std
        if probe is None:
            raise BadInput(
                "this measure reads classes by a linear probe and none was given; "
                "train one by linear_probe_cached"
            )
        if probe.in_features != self.encoder.channels:
            raise BadInput(
                f"the probe takes {probe.in_features} features, but the encoder gives {self.encoder.channels}"
            )
        self.probe = probe
        self.eval()

    @property
    def device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    def features(self, pixels: Tensor) -> Features:
        """The encoder's features of pixels in [0, 1]."""
        return self.encoder(normalised(pixels, self.mean, self.std))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.probe(self.features(pixels).pooled.float())

    def correct(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """How many of these images are named rightly, int64 (), on the device."""
        return (self(pixels).argmax(1) == labels).sum()


def bar(what: str, images: int, progress: bool) -> tqdm:
    """A progress bar over so many images, with time left; silent where it is not wanted."""
    return tqdm(total=images, desc=what, unit="img", unit_scale=True, disable=not progress, mininterval=1.0)
