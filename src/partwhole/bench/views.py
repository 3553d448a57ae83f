"""Views a second: ours, eager and compiled, against torchvision's on PIL images and on tensors, on all cores.

    python -m partwhole.bench.views --rounds 7

Every contender makes two views of the same images, round after round in turn, and the median round counts.
torchvision runs
one process a core with one thread each, and only its transforms are timed: no loading, collating or copying
between processes.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from partwhole.bench import timing
from partwhole.recipes.schema import Blur, Jitter, Views
from partwhole.views.augment import Augment

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
SIMCLR = Views(
    size=32, scale=(0.08, 1.0), jitter=Jitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)
)
PIL, TENSORS, EAGER, COMPILED = (
    "torchvision, PIL",
    "torchvision v2, tensors",
    "partwhole, eager",
    "partwhole, compiled",
)


def compare(
    settings: Views = SIMCLR,
    *,
    batch: int = 512,
    rounds: int = 5,
    seconds: float = 1.0,
    cores: int | None = None,
    compiled: bool = True,
) -> dict:
    """Median views a second of each contender, over interleaved rounds of about `seconds` each, and our gain
    over PIL.
    """
    cores = cores or os.cpu_count()
    torch.set_num_threads(cores)
    images = torch.randint(0, 256, (batch, settings.size, settings.size, 3), dtype=torch.uint8)
    with Torchvision(
        settings, images, cores
    ) as rival:  # before our first parallel region: its processes are forks
        contenders = {name: (lambda name=name: rival(name)) for name in (PIL, TENSORS)}
        contenders |= ours(settings, images, compiled)
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for make in contenders.values():
            make()  # warm-up and compilation
        for _ in range(rounds):
            for name, make in contenders.items():
                rates[name].append(2 * batch / timing.seconds(make, seconds))
    median = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "what": "views a second, two views of each image",
        "settings": settings.model_dump(),
        "batch": batch,
        "cores": cores,
        "rounds": rates,
        "median": median,
        "times_pil": {name: value / median[PIL] for name, value in median.items()},
    }


def ours(settings: Views, images: Tensor, compiled: bool) -> dict[str, Callable[[], object]]:
    """The library's two ways of making views of a batch, (N, H, W, 3), by name: eager and, where wanted,
    compiled.
    """
    augment, index = Augment(settings, MEAN, STD), torch.arange(len(images))
    contenders_of = {
        EAGER: augment,
        **({COMPILED: torch.compile(augment, fullgraph=True)} if compiled else {}),
    }
    return {
        name: (lambda f=f: f(images, torch.rand(len(images), augment.uniforms), index))
        for name, f in contenders_of.items()
    }


class Torchvision:
    """torchvision's transforms on every core: one process each, that makes two views of its share of the
    images on demand.
    """

    def __init__(self, settings: Views, images: Tensor, cores: int):
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self.lines, self.processes = [], []
        for share in images.tensor_split(cores):
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(settings, share.numpy(), there), daemon=True)
            process.start()
            self.lines.append(here)
            self.processes.append(process)

    def __call__(self, name: str) -> None:
        for line in self.lines:
            line.send(name)
        for line in self.lines:
            line.recv()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for line in self.lines:
            line.send(None)
        for process in self.processes:
            process.join()


def serve(settings: Views, images, line) -> None:
    """In a process of its own: make two views of each image whenever asked to, until told to stop."""
    from PIL import Image

    torch.set_num_threads(1)
    work = {
        PIL: (on_pil(settings), [Image.fromarray(image) for image in images]),
        TENSORS: (
            on_tensors(settings),
            [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in images],
        ),
    }
    while name := line.recv():
        transform, given = work[name]
        for image in given:
            transform(image), transform(image)
        line.send(name)


def on_pil(settings: Views):
    """The recipe's views as torchvision's users write them, for PIL images."""
    from torchvision import transforms as T

    return T.Compose([*changes(settings, T), T.ToTensor(), T.Normalize(MEAN, STD)])


def on_tensors(settings: Views):
    """The same for uint8 tensors, with the second version of the transforms."""
    from torchvision.transforms import v2

    return v2.Compose(
        [*changes(settings, v2), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    )


def changes(settings: Views, T) -> list:
    """The crop, flip, colour and blur of `settings`, as torchvision's transforms in the order of
    its recipes.
    """
    jitter, blur = settings.jitter, settings.blur
    contenders_of = [
        T.RandomResizedCrop(settings.size, settings.scale, settings.ratio),
        T.RandomHorizontalFlip(settings.flip),
        T.RandomApply(
            [T.ColorJitter(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)],
            jitter.probability,
        ),
        T.RandomGrayscale(settings.grayscale),
    ]
    if max(blur.probability) > 0:
        contenders_of.append(T.RandomApply([T.GaussianBlur(blur.kernel, blur.sigma)], blur.probability[0]))
    return contenders_of


def show(result: dict) -> None:
    """Print views a second and their ratio to PIL, for people."""
    print(
        f"{result['what']}, {result['settings']['size']} px, batch {result['batch']}, {result['cores']} cores"
    )
    for name, value in result["median"].items():
        print(f"{name:26} {value:10,.0f}   {result['times_pil'][name]:6.1f} x PIL")


def main() -> None:
    """The command line of this benchmark alone."""
    parser = argparse.ArgumentParser(
        prog="python -m partwhole.bench.views", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--batch", type=int, default=512, help="images a call; each gives two views (default 512)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="interleaved rounds; their median counts (default 5)"
    )
    parser.add_argument(
        "--cores", type=int, help="processes of torchvision and threads of ours (default: every core)"
    )
    parser.add_argument("--blur", action="store_true", help="with Gaussian blur of half of the views as well")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    given = parser.parse_args()
    settings = SIMCLR.model_copy(update={"blur": Blur(probability=(0.5, 0.5))} if given.blur else {})
    result = compare(settings, batch=given.batch, rounds=given.rounds, cores=given.cores)
    timing.tell(result, show, given.json)


if __name__ == "__main__":
    main()
