"""A recipe: everything that decides a run, typed and validated. Unknown keys and values out of range are refused in one line."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Part(BaseModel):
    """What every part of a recipe is: closed to unknown keys, and fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # pydantic's own cannot hash a dict


class Data(Part):
    """Which images, and how many of them."""

    name: str = Field(description="data set: scenes/plain, scenes/nuisance, cifar10, cifar100, or the folder name of a pack")
    images: Count | None = Field(None, description="train on this many images, the same number of each class; all where absent")
    controls: dict[str, float | int | tuple[int, int] | tuple[float, float]] = Field(
        {}, description="of scenes: any of partwhole.data.scenes.Controls, such as object_size: [0.2, 0.3]"
    )


class Jitter(Part):
    """Colour jitter: how often, and how far each factor strays from 1 and the hue from 0 (torchvision's meaning)."""

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


class ContrastiveCrop(Part):
    """ContrastiveCrop's own settings (views.contrastive_crop); meanings with partwhole.views.contrastive_crop.ContrastiveCrop."""

    alpha: Positive = Field(0.6, description="Beta(alpha, alpha) of the crop's centre in the box; 1 is uniform: localisation alone")
    sigma: Positive | None = Field(None, description="a Gaussian of this width (in box sides) instead of the Beta")
    threshold: Annotated[float, Field(lt=1)] = Field(0.1, description="k: what of the heatmap (0..1) counts as object")
    region: Literal["closure", "components"] = "closure"
    box: tuple[Probability, Probability, Probability, Probability] | None = Field(
        None, description="one box for every image: top, left, bottom, right in 0..1; learned where absent"
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
        return self


class Views(Part):
    """How the two views of an image are made."""

    size: Count = 32
    sampler: Literal["random_resized_crop", "contrastive_crop"] = "random_resized_crop"
    contrastive_crop: ContrastiveCrop = ContrastiveCrop()
    scale: tuple[Positive, Positive] = (0.2, 1.0)
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: Probability = 0.5
    jitter: Jitter = Jitter()
    grayscale: Probability = 0.2
    blur: Blur = Field(Blur(), description="probability: one number for each of the two views")
    solarise: tuple[Probability, Probability] = Field((0.0, 0.0), description="one probability for each of the two views")

    @model_validator(mode="after")
    def ordered(self):
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is [{low}, {high}]; the first number must not exceed the second")
        if self.scale[1] > 1:
            raise ValueError(f"scale is {list(self.scale)}; it is a share of the image's area, so at most 1")
        if self.blur.kernel % 2 == 0:
            raise ValueError(f"blur.kernel is {self.blur.kernel}; it must be odd")
        return self


class Model(Part):
    """The encoder: a torchvision-named ResNet."""

    block: Literal["basic", "bottleneck"] = "basic"
    blocks: tuple[Count, Count, Count, Count] = Field((2, 2, 2, 2), description="residual blocks a stage; ResNet-18 is 2, 2, 2, 2")
    width: Count = Field(64, description="channels of the first stage; each later stage doubles them")
    stem: Literal["cifar", "imagenet"] = "cifar"
    zero_init_residual: bool = False
    norm: Literal["batch", "split", "sync"] = Field("sync", description="whose statistics: a rank, groups in it, all ranks")
    norm_groups: Count = Field(8, description="for norm: split, the number of groups in the global batch")


class Lewel(Part):
    """LEWEL's own settings (method.lewel); meanings with partwhole.methods.lewel.Lewel."""

    groups: Count = Field(4, description="blocks of channels, each pooled by a map of its own; divides the projector's last width")
    scale: Positive = Field(1.0, description="divides the maps' logits, which lie in -1..1; smaller is sharper")
    weight: Probability = Field(0.5, description="of the pooled loss; the aligned one gets the rest")
    maps: Literal["learned", "detached", "uniform"] = "learned"
    head: Literal["coupled", "separate"] = "coupled"


class Method(Part):
    """The base, the objective on top of it, and their heads."""

    base: Literal["simclr", "moco", "byol", "simsiam"]
    objective: Literal["pooled", "lewel"] = "pooled"
    lewel: Lewel = Lewel()
    projector: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (512, 128), description="layer widths after the encoder's channels"
    )
    projector_norm: bool = Field(False, description="normalise the projector's hidden layers")
    projector_last_norm: bool = Field(False, description="normalise its output too")
    output_bias: bool = Field(True, description="a bias in the last layer of projector and predictor")
    predictor: tuple[Count, ...] = Field((), description="BYOL's and SimSiam's: layer widths; empty where there is none")
    temperature: Positive = 0.5
    loss_scale: Positive = Field(1.0, description="multiplies the loss (ContrastiveCrop's SimCLR: 0.5 / 0.07)")
    queue: Count | None = Field(None, description="MoCo: keys kept as negatives")
    momentum: Probability = Field(0.99, description="EMA momentum of the target network")
    momentum_end: Probability | None = Field(None, description="EMA momentum at the end, on a cosine; constant where absent")
    target_mode: Literal["train", "eval"] = Field("train", description="eval: the target's buffers are averaged too (EMAN)")
    symmetric: bool = Field(False, description="MoCo: both directions, averaged")
    concatenate: bool = Field(False, description="one forward over both views (shared BatchNorm statistics)")


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
    trust_clip: bool = Field(False, description="LARS: cap the trust ratio divided by the learning rate at 1 (solo-learn)")
    warmup_epochs: Annotated[float, Field(ge=0)] = 0
    warmup_lr: Annotated[float, Field(ge=0)] = 0.0
    step: Literal["epoch", "iteration"] = Field("iteration", description="when the cosine moves")
    fixed_predictor_lr: bool = Field(False, description="the predictor keeps the first learning rate (SimSiam)")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0
    compile: bool = Field(False, description="torch.compile the views and the network")


class Evaluation(Part):
    """The kNN check while training."""

    knn_every: Annotated[int, Field(ge=0)] = Field(10, description="epochs between kNN checks while training; 0: only at the end")
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
            raise ValueError("method.queue is missing; MoCo compares with kept keys, so say how many, such as 4096")
        predicts = method.base in ("byol", "simsiam")
        if predicts and not method.predictor:
            raise ValueError(f"method.predictor is missing; {method.base} needs one, such as [512, {method.projector[-1]}]")
        if predicts and method.predictor[-1] != method.projector[-1]:
            raise ValueError(
                f"method.predictor ends at {method.predictor[-1]}; it must end as the projector does, at {method.projector[-1]}"
            )
        if not predicts and method.predictor:
            raise ValueError(f"method.predictor is {list(method.predictor)}; {method.base} has none, so leave it out")
        if method.objective == "lewel":
            channels = model.width * 8 * (4 if model.block == "bottleneck" else 1)
            for name, width in (("the encoder's channels", channels), ("the end of method.projector", method.projector[-1])):
                if width % method.lewel.groups:
                    raise ValueError(f"method.lewel.groups is {method.lewel.groups}; it must divide {name} ({width})")
        if model.norm == "split" and training.batch_size % model.norm_groups:
            raise ValueError(
                f"training.batch_size is {training.batch_size}; it must be a multiple of model.norm_groups ({model.norm_groups})"
            )
        if training.warmup_epochs > training.epochs:
            raise ValueError(f"training.warmup_epochs is {training.warmup_epochs:g}, more than training.epochs ({training.epochs})")
        return self
