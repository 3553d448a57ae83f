"""ContrastiveCrop's settings in a recipe."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from partwhole.recipes.parts import Positive, Probability, Settings


class ContrastiveCrop(Settings):
    """ContrastiveCrop's own settings (views.contrastive_crop); meanings with
    partwhole.views.contrastive_crop.ContrastiveCrop.
    """

    alpha: Positive = Field(
        0.6,
        description="Beta(alpha, alpha) of the crop's centre in the box; 1 is uniform: localisation alone",
    )
    sigma: Positive | None = Field(
        None, description="a Gaussian of this width (in box sides) instead of the Beta"
    )
    threshold: Annotated[float, Field(lt=1)] = Field(
        0.1, description="k: what of the heatmap (0..1) counts as object"
    )
    region: Literal["closure", "components"] = "closure"
    box: tuple[Probability, Probability, Probability, Probability] | None = Field(
        None, description="one box for every image: top, left, bottom, right in 0..1; learned where absent"
    )
    oracle: bool = Field(
        False, description="the true box of the first object instead of a learned one: for measuring only"
    )
    rounding: Literal["official", "unbiased", "clip_after"] = "official"
    warmup: Probability = Field(0.2, description="share of the epochs with random crops; at 1 all of them")
    interval: Annotated[float, Field(gt=0, le=1)] = Field(
        0.2, description="share of the epochs between two computations of the boxes"
    )

    @model_validator(mode="after")
    def upright(self):
        if self.box is not None and (self.box[0] > self.box[2] or self.box[1] > self.box[3]):
            raise ValueError(f"box is {list(self.box)}; it needs top <= bottom and left <= right")
        if self.box is not None and self.oracle:
            raise ValueError("box and oracle are both given; leave one of them out")
        return self
