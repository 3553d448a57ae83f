"""CO-SSL's settings in a recipe."""

from typing import Literal

from pydantic import Field

from partwhole.recipes.parts import Count, Part, Probability, Settings


class CoSSL(Settings):
    """CO-SSL's own settings (method.co_ssl), meanings with methods.co_ssl.CoSSL; the defaults are ours."""

    uses_locals = True

    weight: Probability = Field(
        0.3, description="w_s, of the local loss; the pooled one gets the rest; 0: the base alone"
    )
    direction: Literal["local_to_global", "both"] = Field(
        "local_to_global", description="both: pooled vectors predict the other view's local ones too"
    )
    target_head: Literal["pooled", "separate"] = Field(
        "pooled",
        description="which projector makes the target of the local vectors: the pooled one's, or their own",
    )
    shared_heads: bool = Field(False, description="local vectors go through the pooled vectors' heads")
    positions: Count | None = Field(
        None, description="so many positions of a map, drawn anew each time; all where absent"
    )

    def check(self, recipe: Part) -> None:
        side = -(-recipe.views.size // recipe.model.stride)
        if self.positions is not None and self.positions > side**2:
            raise ValueError(
                f"method.co_ssl.positions is {self.positions}; the map of a view of {recipe.views.size} "
                "px has "
                f"{side} x {side}, so ask for at most {side**2}"
            )
        if recipe.views.local is not None and self.direction == "both":
            raise ValueError(
                "method.co_ssl.direction is both, but local crops are never targets; drop views.local"
            )
        if recipe.views.local is not None and self.weight == 0:
            raise ValueError(
                "method.co_ssl.weight is 0, so local crops would be encoded for nothing; drop views.local"
            )
        if self.shared_heads and self.target_head == "separate":
            raise ValueError(
                "method.co_ssl.target_head is separate, but shared_heads leaves no second head; drop one"
            )
