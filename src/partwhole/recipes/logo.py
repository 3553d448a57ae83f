"""LoGo's settings in a recipe."""

from typing import Annotated, Literal

from pydantic import Field

from partwhole.recipes.parts import Count, Part, Positive, Settings

NotNegative = Annotated[float, Field(ge=0)]


class LoGo(Settings):
    """LoGo's own settings (method.logo); meanings with partwhole.methods.logo.LoGo. The faithful value comes first."""

    affinity: Literal["learned", "cosine", "none"] = Field("learned", description="pushes local from local; none: multi-crop")
    mode: Literal["paper", "code"] = Field("paper", description="code: as released, three steps and no lambda")
    weights: Literal["sum", "mean"] = Field("sum", description="of the pairs: Eq. 4's sums, or divided by their number as released")
    lam: NotNegative = Field(1e-4, description="lambda of Eq. 9: weight of the local-local term in paper mode")
    clip: NotNegative = Field(0.015, description="code mode: bound of its gradient, as a share of the last main gradient's norm")
    lr: Positive = Field(0.03, description="the critic's learning rate, constant; released: 0.03 a batch of 256")
    hidden: Count = Field(256, description="width of the critic's hidden layers")
    form: Literal["logistic", "eq6"] = Field("logistic", description="the critic's loss; eq6, the paper's, diverges or dies")
    negatives: Literal["reversal", "roll"] = Field("reversal", description="whose local crops are the different ones")
    jitter: Literal["positives", "both", "none"] = Field("positives", description="noise on the critic's pairs, as released")
    orders: Literal["one", "both"] = Field("one", description="of a pair in the local-local term")
    joint_norm: bool = Field(False, description="the critic's pairs in one batch of BatchNorm instead of one a kind")
    ema_twice: bool = Field(False, description="code mode: the target moves twice a step, as released")

    def check(self, recipe: Part) -> None:
        local = recipe.views.local
        if local is None:
            raise ValueError("views.local is missing; LoGo needs local crops, such as views.local: {count: 2, size: 16}")
        if local.count != 2:
            raise ValueError(f"views.local.count is {local.count}; LoGo compares two local crops, so give 2")
        batch = recipe.training.batch_size
        if self.affinity == "learned" and self.negatives == "reversal" and batch % 2:
            raise ValueError(
                f"training.batch_size is {batch}; reversed, an odd batch pairs its middle image with itself: make it even, or "
                "use method.logo.negatives=roll"
            )
        if self.mode == "code" and self.affinity == "none":
            raise ValueError("method.logo.mode is code, but with affinity none there is no local-local step; use mode paper")
