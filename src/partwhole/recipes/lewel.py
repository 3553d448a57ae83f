"""LEWEL's settings in a recipe."""

from typing import Literal

from pydantic import Field

from partwhole.recipes.parts import Count, Part, Positive, Probability, Settings


class Lewel(Settings):
    """LEWEL's own settings (method.lewel); meanings with partwhole.methods.lewel.Lewel."""

    groups: Count = Field(
        4,
        description="blocks of channels, each pooled by a map of its own; divides the projector's last width",
    )
    scale: Positive = Field(
        1.0, description="divides the maps' logits, which lie in -1..1; smaller is sharper"
    )
    weight: Probability = Field(0.5, description="of the pooled loss; the aligned one gets the rest")
    maps: Literal["learned", "detached", "uniform"] = "learned"
    head: Literal["coupled", "separate"] = "coupled"

    def check(self, recipe: Part) -> None:
        projected = recipe.method.projector[-1]
        for what, width in (
            ("the encoder's channels", recipe.model.channels),
            ("the end of method.projector", projected),
        ):
            if width % self.groups:
                raise ValueError(f"method.lewel.groups is {self.groups}; it must divide {what} ({width})")
