"""LoGo's settings in a recipe."""

from typing import Annotated, Literal

from pydantic import Field

from partwhole.recipes.parts import Count, Part, Positive, Settings

NotBelowZero = Annotated[float, Field(ge=0)]


class LoGo(Settings):
    """LoGo's own settings (method.logo); meanings with methods.logo.LoGo. The faithful value comes first."""

    uses_locals = True

    affinity: Literal["learned", "cosine", "none"] = Field(
        "learned", description="pushes local from local; none: multi-crop"
    )
    mode: Literal["paper", "code"] = Field(
        "paper", description="code: as released, three steps and no lambda"
    )
    weights: Literal["mean", "sum"] = Field(
        "mean",
        description="of the six costs: alike, as released, or 1 to 4 as in Eqs. 3 and 4, five times as large",
    )
    lam: NotBelowZero = Field(
        1e-4, description="lambda of Eq. 9: weight of the local-local term in paper mode"
    )
    clip: NotBelowZero = Field(
        0.015, description="code mode: bound of its gradient, as a share of the last main gradient's norm"
    )
    critic_lr: Positive = Field(
        0.03, description="the critic's learning rate, constant; released: 0.03 a batch of 256"
    )
    hidden: Count = Field(256, description="width of the critic's two hidden layers")
    normalise: bool = Field(
        True, description="the affinity sees projected vectors of unit length, as released"
    )
    form: Literal["logistic", "eq6"] = Field(
        "logistic", description="the critic's loss; eq6, the paper's, diverges or dies"
    )
    negatives: Literal["reversal", "roll"] = Field(
        "reversal", description="whose local crops are the different ones; roll: by a random number of places"
    )
    jitter: Literal["positives", "both", "none"] = Field(
        "positives", description="which of the critic's pairs get noise"
    )
    orders: Literal["one", "both"] = Field("one", description="of a pair in the local-local term")
    joint_norm: bool = Field(
        False, description="the critic's pairs in one batch of BatchNorm instead of one a kind"
    )
    ema_twice: bool = Field(True, description="code mode: the target moves twice a step, as released")

    def check(self, recipe: Part) -> None:
        local, batch = recipe.views.local, recipe.training.batch_size
        if local is None:
            raise ValueError(
                "views.local is missing; LoGo needs local crops, such as views.local: {count: 2, size: 16}"
            )
        if local.count != 2:
            raise ValueError(f"views.local.count is {local.count}; LoGo compares two local crops, so give 2")
        if self.affinity == "learned" and self.negatives == "reversal" and batch % 2:
            raise ValueError(
                f"training.batch_size is {batch}; reversed, an odd batch pairs its middle image with "
                "itself: make it "
                "even, or use method.logo.negatives=roll"
            )
        if self.mode == "code" and self.affinity == "none":
            raise ValueError(
                "method.logo.mode is code, but with affinity none there is no local-local step; use "
                "mode paper"
            )
