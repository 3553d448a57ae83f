"""What every part of a recipe is made of."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """Closed to unknown keys and to numbers that are not finite, and fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # pydantic's own cannot hash a dict


class Settings(Part):
    """The settings of one objective or sampler, a section of its own in a recipe (recipes.registers)."""

    uses_locals: ClassVar[bool] = False  # of an objective: whether it makes anything of local crops

    def check(self, recipe: Part) -> None:
        """Refuse, by ValueError in one line, a whole recipe that these settings do not fit.

        Called where they are in use.
        """
