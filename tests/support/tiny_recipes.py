"""Recipes small enough to run in a blink, one for each base."""

from partwhole.recipes.schema import Recipe

METHODS = {
    "simclr": {"base": "simclr", "projector": (16, 8), "temperature": 0.5},
    "moco": {"base": "moco", "projector": (16, 8), "temperature": 0.2, "queue": 24, "momentum": 0.9},
    "byol": {
        "base": "byol",
        "projector": (16, 8),
        "projector_norm": True,
        "predictor": (16, 8),
        "momentum": 0.9,
    },
    "simsiam": {
        "base": "simsiam",
        "projector": (16, 16, 8),
        "projector_norm": True,
        "projector_last_norm": True,
        "predictor": (4, 8),
    },
}


def tiny(base: str, norm: str | None = None, **training) -> Recipe:
    """A recipe small enough to run in a blink: a ResNet of one block a stage and width 4, on 16 px scenes."""
    return Recipe(
        data={"name": "scenes/plain", "images": 60},
        views={"size": 16},
        model={
            "blocks": (1, 1, 1, 1),
            "width": 4,
            "norm": norm or ("split" if base == "moco" else "sync"),
            "norm_groups": 4,
        },
        method=METHODS[base],
        training={"epochs": 2, "batch_size": 16, "lr": 0.1, "precision": "fp32", **training},
        evaluation={"knn_every": 0, "knn_k": 5},
    )


def contrastive(base: str, *, threshold: float = 0.5, **training) -> Recipe:
    """`tiny` with ContrastiveCrop: random crops in epoch 1, boxes after it and after each one that follows,
    but for the last.
    """
    values = tiny(base, **{"epochs": 5, **training}).model_dump()
    values["views"] |= {"sampler": "contrastive_crop", "contrastive_crop": {"threshold": threshold}}
    return Recipe(**values)


def lewel(base: str = "byol", training: dict | None = None, method: dict | None = None, **own) -> Recipe:
    """`tiny` with LEWEL: a 2 x 2 map of 32 channels, D = 8, two groups, so K = 4."""
    values = tiny(base, **(training or {})).model_dump()
    values["method"] |= {"objective": "lewel", "lewel": {"groups": 2, **own}, **(method or {})}
    return Recipe(**values)


def co_ssl(
    base: str = "byol",
    training: dict | None = None,
    method: dict | None = None,
    views: dict | None = None,
    **own,
) -> Recipe:
    """`tiny` with CO-SSL: a 2 x 2 map of 32 channels, so four local vectors, D = 8."""
    values = tiny(base, **(training or {})).model_dump()
    values["method"] |= {"objective": "co_ssl", "co_ssl": own, **(method or {})}
    values["views"] |= views or {}
    return Recipe(**values)


def logo(
    base: str = "simclr", training: dict | None = None, sampler: str = "random_resized_crop", **own
) -> Recipe:
    """`tiny` with LoGo: globals of 16 px, two locals of 8 px whose area ranges meet at 0.4, a
    critic 12 wide.
    """
    values = (contrastive if sampler == "contrastive_crop" else tiny)(base, **(training or {})).model_dump()
    values["views"] |= {"scale": (0.4, 1.0), "local": {"count": 2, "size": 8, "scale": (0.1, 0.4)}}
    values["method"] |= {"objective": "logo", "logo": {"hidden": 12, **own}}
    return Recipe(**values)
