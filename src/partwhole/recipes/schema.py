"""A recipe: everything that decides a run, typed and validated.

Unknown keys and values out of range are refused in one line.
"""

from typing import Annotated, Literal

from pydantic import Field, create_model, model_validator

from partwhole.recipes.parts import Count, NotNegative, Part, Positive, Probability
from partwhole.recipes.registers import OBJECTIVES, SAMPLERS, sections, uses_locals


class Data(Part):
    """Which images, and how many of them."""

    name: str = Field(
        description="data set: scenes/plain, scenes/nuisance, cifar10, cifar100, or the folder name of a pack"
    )
    images: Count | None = Field(
        None, description="train on this many images, the same number of each class; all where absent"
    )
    controls: dict[str, float | int | tuple[int, int] | tuple[float, float]] = Field(
        {}, description="of scenes: any of partwhole.data.scenes.Controls, such as object_size: [0.2, 0.3]"
    )


class Jitter(Part):
    """Colour jitter: how often, and how far each factor strays from 1 and the hue from 0 (torchvision's
    meaning).
    """

    probability: Probability = 0.8
    brightness: Annotated[float, Field(ge=0)] = 0.4
    contrast: Annotated[float, Field(ge=0)] = 0.4
    saturation: Annotated[float, Field(ge=0)] = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1


class Blur(Part):
    """Gaussian blur: how often, its width in pixels, drawn evenly, and the side of its kernel."""

    probability: tuple[Probability, Probability] = (0.0, 0.0)
    sigma: tuple[Positive, Positive] = (0.1, 2.0)
    kernel: Annotated[int, Field(ge=3)] = 3


class LocalViews(Part):
    """Local crops beside the two global ones: how many, and how they differ.

    Colours change as in the global views.
    """

    count: Count = 2
    size: Count = 16
    scale: tuple[Positive, Positive] = Field(
        (0.05, 0.4), description="of the image's area, smallest and largest"
    )
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    blur: Probability = Field(0.0, description="how often a local view is blurred")
    solarise: Probability = 0.0

    @model_validator(mode="after")
    def ordered(self):
        ordered_range("scale", self.scale)
        ordered_range("ratio", self.ratio)
        return self


def ordered_range(name: str, given: tuple[float, float]) -> None:
    """ValueError unless the first number of a range is not above the second, and a scale is a share of the
    image.
    """
    if given[0] > given[1]:
        raise ValueError(f"{name} is {list(given)}; the first number must not exceed the second")
    if name == "scale" and given[1] > 1:
        raise ValueError(f"scale is {list(given)}; it is a share of the image's area, so at most 1")


class BaseViews(Part):
    """How the views of an image are made: two global ones, and local ones where `local` is given."""

    size: Count = 32
    sampler: Literal[tuple(SAMPLERS)] = "random_resized_crop"
    scale: tuple[Positive, Positive] = (0.2, 1.0)
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: Probability = 0.5
    jitter: Jitter = Jitter()
    grayscale: Probability = 0.2
    blur: Blur = Field(Blur(), description="probability: one number for each of the two views")
    solarise: tuple[Probability, Probability] = Field(
        (0.0, 0.0), description="one probability for each of the two views"
    )

    local: LocalViews | None = Field(None, description="local crops: count, size, scale; none where absent")

    @model_validator(mode="after")
    def consistent(self):
        ordered_range("scale", self.scale)
        ordered_range("ratio", self.ratio)
        kernel = self.blur.kernel
        if kernel % 2 == 0:
            raise ValueError(f"blur.kernel is {kernel}; it must be odd")
        groups = [("size", self.size, max(self.blur.probability))]
        if self.local is not None:
            groups.append(("local.size", self.local.size, self.local.blur))
            if self.local.scale[0] > self.scale[0] or self.local.scale[1] > self.scale[1]:
                raise ValueError(
                    f"local.scale is {list(self.local.scale)}, above the global scale "
                    f"{list(self.scale)}; local crops are smaller"
                )
        for name, size, blurred in groups:
            if blurred > 0 and kernel // 2 >= size:
                raise ValueError(
                    f"blur.kernel is {kernel}, wider than {name} ({size}) can mirror; make it at most "
                    f"{2 * size - 1}"
                )
        return self


Views = create_model("Views", __base__=BaseViews, __doc__=BaseViews.__doc__, **sections(SAMPLERS))


class Model(Part):
    """The encoder: a torchvision-named ResNet."""

    block: Literal["basic", "bottleneck"] = "basic"
    blocks: tuple[Count, Count, Count, Count] = Field(
        (2, 2, 2, 2), description="residual blocks a stage; ResNet-18 is 2, 2, 2, 2"
    )
    width: Count = Field(64, description="channels of the first stage; each later stage doubles them")
    stem: Literal["cifar", "imagenet"] = "cifar"
    zero_init_residual: bool = False
    norm: Literal["batch", "split", "sync"] = Field(
        "sync", description="whose statistics: a rank, groups in it, all ranks"
    )
    norm_groups: Count = Field(8, description="for norm: split, the number of groups in the global batch")
    keep: tuple[NotNegative, NotNegative, NotNegative, NotNegative] | None = Field(
        None,
        description="RF-ResNet: how many leading 3x3 convolutions of each stage stay so; the others are 1x1",
    )
    last_stride: Literal[1, 2] = Field(2, description="of the last stage; 1 leaves a map of twice the side")
    head: NotNegative = Field(
        0, description="layers of an MLP after the pooling, each as wide as the map; part of the encoder"
    )

    @model_validator(mode="after")
    def consistent(self):
        for stage, (few, whole) in enumerate(zip(self.keep or (), self.spatial_convolutions), 1):
            if few > whole:
                raise ValueError(
                    f"keep is {list(self.keep)}, but stage {stage} has only {whole} 3x3 convolutions"
                )
        return self

    @property
    def spatial_convolutions(self) -> tuple[int, ...]:
        """How many convolutions of each stage are 3x3 in the standard network: two a basic block, one a
        bottleneck.
        """
        return tuple(count * (1 if self.block == "bottleneck" else 2) for count in self.blocks)

    @property
    def channels(self) -> int:
        """Of the encoder's last map, and of what its pooling makes of it."""
        return self.width * 8 * (4 if self.block == "bottleneck" else 1)

    @property
    def stride(self) -> int:
        """Pixels of the view from one position of the last map to the next."""
        return (8 if self.stem == "cifar" else 32) * self.last_stride // 2


class BaseMethod(Part):
    """The base, the objective on top of it, and their heads."""

    base: Literal["simclr", "moco", "byol", "simsiam"]
    objective: Literal[tuple(OBJECTIVES)] = "pooled"
    projector: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (512, 128), description="layer widths after the encoder's channels"
    )
    projector_norm: bool = Field(False, description="normalise the projector's hidden layers")
    projector_last_norm: bool = Field(False, description="normalise its output too")
    output_bias: bool = Field(True, description="a bias in the last layer of projector and predictor")
    predictor: tuple[Count, ...] = Field(
        (), description="BYOL's and SimSiam's: layer widths; empty where there is none"
    )
    temperature: Positive = 0.5
    loss_scale: Positive = Field(
        1.0, description="multiplies the loss (ContrastiveCrop's SimCLR: 0.5 / 0.07)"
    )
    queue: Count | None = Field(None, description="MoCo: keys kept as negatives")
    momentum: Probability = Field(0.99, description="EMA momentum of the target network")
    momentum_end: Probability | None = Field(
        None, description="EMA momentum at the end, on a cosine; constant where absent"
    )
    target_mode: Literal["train", "eval"] = Field(
        "train", description="eval: the target's buffers are averaged too (EMAN)"
    )
    symmetric: bool = Field(False, description="MoCo: both directions, averaged")
    concatenate: bool = Field(False, description="one forward over both views (shared BatchNorm statistics)")


Method = create_model("Method", __base__=BaseMethod, __doc__=BaseMethod.__doc__, **sections(OBJECTIVES))


class Training(Part):
    """How long, in what batches, and by which optimiser."""

    epochs: Count = 200
    batch_size: Count = 512
    optimiser: Literal["sgd", "lars"] = "sgd"
    lr: Positive = 0.5
    final_lr: Annotated[float, Field(ge=0)] = 0.0
    momentum: Probability = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    decay_norm_and_bias: bool = Field(True, description="weight decay on norm parameters and biases too")
    trust: Positive = Field(0.001, description="LARS trust coefficient")
    trust_clip: bool = Field(
        False, description="LARS: cap the trust ratio divided by the learning rate at 1 (solo-learn)"
    )
    warmup_epochs: Annotated[float, Field(ge=0)] = 0
    warmup_lr: Annotated[float, Field(ge=0)] = 0.0
    step: Literal["epoch", "iteration"] = Field("iteration", description="when the cosine moves")
    fixed_predictor_lr: bool = Field(
        False, description="the predictor keeps the first learning rate (SimSiam)"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0
    compile: bool = Field(False, description="torch.compile the views and the network")


class Evaluation(Part):
    """The kNN check while training."""

    knn_every: Annotated[int, Field(ge=0)] = Field(
        10, description="epochs between kNN checks while training; 0: only at the end"
    )
    knn_k: Count = 200
    knn_temperature: Positive = 0.1


class Recipe(Part):
    """One row of a table: data, views, model, method, training, evaluation."""

    about: str = Field("", description="one line: what this reproduces and where it comes from")
    data: Data
    views: Views = Views()
    model: Model = Model()
    method: Method
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def consistent(self):
        """What one section asks of another."""
        method, training, model = self.method, self.training, self.model
        if method.base == "moco" and method.queue is None:
            raise ValueError(
                "method.queue is missing; MoCo compares with kept keys, so say how many, such as 4096"
            )
        predicts = method.base in ("byol", "simsiam")
        if predicts and not method.predictor:
            raise ValueError(
                f"method.predictor is missing; {method.base} needs one, such as [512, {method.projector[-1]}]"
            )
        if predicts and method.predictor[-1] != method.projector[-1]:
            raise ValueError(
                f"method.predictor ends at {method.predictor[-1]}; it must end as the projector does, "
                f"at {method.projector[-1]}"
            )
        if not predicts and method.predictor:
            raise ValueError(
                f"method.predictor is {list(method.predictor)}; {method.base} has none, so leave it out"
            )
        smallest = min(self.views.size, self.views.local.size if self.views.local else self.views.size)
        if smallest < model.stride:
            raise ValueError(
                f"a view of {smallest} px is smaller than a step of the encoder's map ({model.stride} "
                "px); enlarge it"
            )
        if self.views.local is not None and not uses_locals(method.objective):
            raise ValueError(
                f"views.local is given, but the objective {method.objective} makes nothing of local "
                "crops; say views.local: null, "
                f"or use one of {', '.join(name for name in OBJECTIVES if uses_locals(name))}"
            )
        for section, name in ((method, method.objective), (self.views, self.views.sampler)):
            if hasattr(section, name):
                getattr(section, name).check(self)
        if model.norm == "split" and training.batch_size % model.norm_groups:
            raise ValueError(
                f"training.batch_size is {training.batch_size}; it must be a multiple of "
                f"model.norm_groups ({model.norm_groups})"
            )
        if training.warmup_epochs > training.epochs:
            raise ValueError(
                f"training.warmup_epochs is {training.warmup_epochs:g}, more than training.epochs "
                f"({training.epochs})"
            )
        return self
