import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare, ks_2samp
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import ColorJitter, GaussianBlur
from torchvision.transforms.v2 import functional as theirs

from partwhole.errors import BadInput
from partwhole.recipes.schema import Blur, Jitter, Views
from partwhole.training.ranks import Ranks
from partwhole.views import augment as module
from partwhole.views import photometric
from partwhole.views.augment import Augment

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
OFF = {"jitter": Jitter(probability=0), "grayscale": 0.0}
FULL = Views(
    size=16,
    scale=(0.08, 1.0),
    jitter=Jitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2),
    blur=Blur(probability=(0.5, 0.1)),
    solarise=(0.0, 0.2),
)


def batch(count=12, height=20, width=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def numbers(augment, count=12, seed=0):
    return Ranks(seed).draw(count, augment.uniforms)


def make(settings, images, u, **more):
    return Augment(settings, MEAN, STD)(images, u, torch.arange(len(images)), **more)


def colours(pixels):
    """Back from normalised views to values in [0, 1]."""
    return pixels * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]


@pytest.mark.parametrize("padded", [False, True])
def test_views_remember_their_crops_and_flips(padded):
    augment, images = Augment(Views(size=16, **OFF), MEAN, STD), batch()
    sizes = torch.tensor([[20, 9], [11, 24], [20, 24]], dtype=torch.int32).repeat(4, 1) if padded else None
    views = augment(images, numbers(augment), torch.arange(12), sizes=sizes)
    group = views.globals
    assert (
        group.pixels.shape == (2, 12, 3, 16, 16)
        and group.crops.flipped.any()
        and not group.crops.flipped.all()
    )
    for v in range(2):
        for b, image in enumerate(images.numpy()):
            top, left, height, width = (
                getattr(group.crops, name)[v, b].item() for name in ("top", "left", "height", "width")
            )
            cut = (
                Image.fromarray(image)
                .crop((left, top, left + width, top + height))
                .resize((16, 16), Image.Resampling.BILINEAR)
            )
            cut = np.asarray(cut)[:, ::-1] if group.crops.flipped[v, b] else np.asarray(cut)
            seen = (colours(group.pixels[v, b]) * 255).round().permute(1, 2, 0).numpy()
            assert np.abs(seen - cut).max() <= 1
            if padded:
                assert top + height <= sizes[b, 0] and left + width <= sizes[b, 1]


def test_the_two_views_of_an_image_differ_and_carry_its_index():
    augment, index = Augment(FULL, MEAN, STD), torch.arange(12) * 7
    views = augment(batch(), numbers(augment), index)
    assert torch.equal(views.images, index)
    assert ((views.globals.pixels[0] - views.globals.pixels[1]).abs().amax((1, 2, 3)) > 0.1).all()


def test_pixels_are_float32_and_channels_last():
    augment = Augment(FULL, MEAN, STD)
    pixels = augment(batch(), numbers(augment), torch.arange(12)).globals.pixels
    assert pixels.dtype == torch.float32
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in pixels)


def test_the_same_numbers_give_the_same_views_and_each_image_depends_on_its_own_only():
    augment, images = Augment(FULL, MEAN, STD), batch()
    u, shuffled = numbers(augment), torch.randperm(12, generator=torch.Generator().manual_seed(1))
    views = make(FULL, images, u).globals
    again = make(FULL, images[shuffled], u[shuffled]).globals
    for name in ("top", "left", "height", "width", "flipped"):
        assert torch.equal(getattr(again.crops, name), getattr(views.crops, name)[:, shuffled])
    torch.testing.assert_close(again.pixels, views.pixels[:, shuffled], rtol=0, atol=1e-5)
    assert torch.equal(make(FULL, images, u).globals.pixels, views.pixels)


@pytest.mark.parametrize("cache", [1, 2**15, 2**30])
def test_chunks_change_nothing(monkeypatch, cache):
    augment, images = Augment(FULL, MEAN, STD), batch()
    whole = augment(images, numbers(augment), torch.arange(12)).globals
    monkeypatch.setattr(module, "CACHE", cache)
    parts = augment(images, numbers(augment), torch.arange(12)).globals
    torch.testing.assert_close(parts.pixels, whole.pixels, rtol=0, atol=1e-5)


class Recorder:
    """Stands for a photometric function and keeps what it was called with."""

    def __init__(self, monkeypatch, name):
        self.function, self.seen = getattr(photometric, name), []
        monkeypatch.setattr(photometric, name, self)

    def __call__(self, *arguments, **more):
        self.seen.append((arguments, more))
        return self.function(*arguments, **more)

    @property
    def arguments(self):
        """Those of the only call."""
        ((arguments, _),) = self.seen
        return arguments


def test_colours_equal_torchvisions_chain_with_the_same_parameters(monkeypatch):
    names = ("jitter", "grayscale", "blur", "solarise")
    jitter, grayscale, blur, solarise = (Recorder(monkeypatch, name) for name in names)
    settings = FULL.model_copy(update={"grayscale": 0.4, "solarise": (0.3, 0.6), "jitter": Jitter(hue=0.3)})
    augment = Augment(settings, MEAN, STD)
    views = augment(batch(), numbers(augment), torch.arange(12)).globals.pixels.flatten(0, 1)
    cut, jittered, orders, *factors = jitter.arguments
    adjust = [getattr(theirs, f"adjust_{name}") for name in ("brightness", "contrast", "saturation", "hue")]
    for i, image in enumerate(cut):
        for operation in orders[i].tolist() if jittered[i] else []:
            image = adjust[operation](image, factors[operation][i].item())
        if grayscale.arguments[1][i]:
            image = theirs.rgb_to_grayscale(image, 3)
        if blur.arguments[1][i]:
            image = theirs.gaussian_blur(image, [3, 3], [blur.arguments[2][i].item()])
        if solarise.arguments[1][i] and ((image - 0.5).abs() > 1e-5).all():
            image = theirs.solarize(image, 0.5)
        elif solarise.arguments[1][i]:
            continue  # a value on the threshold may fall on either side
        torch.testing.assert_close(views[i], theirs.normalize(image, MEAN, STD), rtol=0, atol=5e-5)


def test_parameters_are_distributed_as_torchvisions(monkeypatch):
    jitter, blur = Recorder(monkeypatch, "jitter"), Recorder(monkeypatch, "blur")
    settings = FULL.model_copy(
        update={"size": 1, "jitter": Jitter(brightness=0.8, contrast=0.4, saturation=1.3, hue=0.2)}
    )
    augment = Augment(settings, MEAN, STD)
    augment(batch(2500, 2, 2), numbers(augment, 2500), torch.arange(2500))
    _, _, orders, *factors = jitter.arguments
    torch.manual_seed(0)
    drawn = [ColorJitter.get_params((0.2, 1.8), (0.6, 1.4), (0, 2.3), (-0.2, 0.2)) for _ in range(5000)]
    for name, ours, column in zip(("brightness", "contrast", "saturation", "hue"), factors, range(1, 5)):
        test = ks_2samp(ours, [row[column] for row in drawn])
        assert test.pvalue > 0.01, f"{name} differs: {test}"
    sigmas = [GaussianBlur.get_params(0.1, 2.0) for _ in range(5000)]
    assert ks_2samp(blur.arguments[2], sigmas).pvalue > 0.01
    names = (orders * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = names.unique(return_counts=True)[1]
    assert len(counts) == 24 and chisquare(counts).pvalue > 0.01
    assert (np.abs(np.corrcoef(torch.stack(factors))[np.triu_indices(4, 1)]) < 0.05).all(), (
        "factors must be independent"
    )


def test_flip_jitter_grayscale_blur_and_solarise_happen_as_often_as_asked(monkeypatch):
    names = ("jitter", "grayscale", "blur", "solarise")
    recorders = [Recorder(monkeypatch, name) for name in names]
    settings = Views(
        size=2,
        flip=0.3,
        jitter=Jitter(probability=0.8),
        grayscale=0.2,
        blur=Blur(probability=(1.0, 0.1)),
        solarise=(0, 0.2),
    )
    augment, count = Augment(settings, MEAN, STD), 4000
    group = augment(batch(count, 2, 2), numbers(augment, count), torch.arange(count)).globals
    asked = {
        "flip": (0.3, 0.3),
        "jitter": (0.8, 0.8),
        "grayscale": (0.2, 0.2),
        "blur": (1.0, 0.1),
        "solarise": (0.0, 0.2),
    }
    chosen = {
        "flip": group.crops.flipped,
        **{name: seen.arguments[1].view(2, count) for name, seen in zip(names, recorders)},
    }
    for name, probabilities in asked.items():
        for view, p in zip(chosen[name].double(), probabilities):
            assert abs(view.mean() - p) <= 4 * (p * (1 - p) / count) ** 0.5, name
    both = torch.stack([value.flatten() for name, value in chosen.items() if name != "solarise"]).double()[
        :, :count
    ]
    assert (np.abs(np.corrcoef(both[:3])[np.triu_indices(3, 1)]) < 0.07).all(), "choices must be independent"


def test_settings_that_never_apply_cost_nothing(monkeypatch):
    recorders = [Recorder(monkeypatch, name) for name in ("jitter", "grayscale", "blur", "solarise")]
    augment = Augment(Views(size=16, **OFF), MEAN, STD)
    augment(batch(), numbers(augment), torch.arange(12))
    assert not any(recorder.seen for recorder in recorders)


def test_settings_do_not_move_the_crops():
    u = numbers(Augment(FULL, MEAN, STD))
    plain, full = (
        make(settings, batch(), u).globals for settings in (Views(size=16, scale=(0.08, 1.0), **OFF), FULL)
    )
    assert torch.equal(plain.crops.top, full.crops.top) and torch.equal(
        plain.crops.flipped, full.crops.flipped
    )


class NeverWaits(TorchDispatchMode):
    """Fails on what would make a GPU wait for the host, or has a shape that depends on values."""

    refused = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh")

    def __torch_dispatch__(self, function, types, arguments=(), more=None):
        name = function.overloadpacket.__name__
        assert name not in self.refused, f"{function} makes the host wait"
        if name in ("index", "index_put", "index_put_"):
            assert all(place is None or place.dtype != torch.bool for place in arguments[1]), (
                "a mask as an index"
            )
        return function(*arguments, **(more or {}))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_nothing_waits_for_the_host(interpolation):
    settings = FULL.model_copy(update={"interpolation": interpolation})
    augment, images, index = Augment(settings, MEAN, STD), batch(), torch.arange(12)
    u = numbers(augment)
    with NeverWaits():
        augment(images, u, index)
    with pytest.raises(AssertionError, match="wait"), NeverWaits():
        u.max().item()


def test_mixed_precision_outside_does_not_reach_the_views():
    augment, images = Augment(FULL, MEAN, STD), batch()
    expected = augment(images, numbers(augment), torch.arange(12)).globals.pixels
    with torch.autocast("cpu", torch.bfloat16):
        made = augment(images, numbers(augment), torch.arange(12)).globals.pixels
    assert torch.equal(made, expected)


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_compiled_in_one_graph_equals_eager(backend):
    settings = FULL.model_copy(update={"solarise": (0.0, 0.0)})  # a threshold may fall on either side
    if backend == "inductor":
        settings = settings.model_copy(update={"blur": Blur()})  # compiles in half a minute as it is
    augment, images, index = Augment(settings, MEAN, STD), batch(), torch.arange(12)
    u = numbers(augment)
    compiled, eager = (
        f(images, u, index).globals
        for f in (torch.compile(augment, fullgraph=True, backend=backend), augment)
    )
    # 1e-5 before the division by std.
    torch.testing.assert_close(compiled.pixels, eager.pixels, rtol=0, atol=4e-5)
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in compiled.pixels)
    for name in ("top", "left", "height", "width", "flipped"):
        assert torch.equal(getattr(compiled.crops, name), getattr(eager.crops, name))


def test_crops_by_boxes_compile_in_one_graph_too():
    augment, images, index = (
        Augment(FULL.model_copy(update={"sampler": "contrastive_crop"}), MEAN, STD),
        batch(),
        torch.arange(12),
    )
    augment.sampler.begin(12, 10, 32, torch.device("cpu"))
    boxes = torch.tensor([0.2, 0.3, 0.5, 0.6]).expand(12, 4)
    crops = []
    for epoch in (1, 5):  # warming up, then by the boxes
        augment.sampler.before_epoch(epoch)
        made = [f(images, numbers(augment), index, boxes=boxes).globals for f in (
            augment, torch.compile(augment, fullgraph=True, backend="eager"))]  # fmt: skip
        one, two = (group.crops for group in made)
        assert all(
            torch.equal(getattr(one, name), getattr(two, name)) for name in ("top", "left", "height", "width")
        )
        crops.append(made[0].crops.top)
    assert not torch.equal(*crops)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_cuda_equals_cpu(interpolation):
    settings = FULL.model_copy(update={"solarise": (0.0, 0.0), "interpolation": interpolation})
    augment, images, index = Augment(settings, (0.0,) * 3, (1.0,) * 3), batch(64, 32, 32), torch.arange(64)
    u = numbers(augment, 64)
    here, there = augment(images, u, index).globals, augment(images.cuda(), u.cuda(), index.cuda()).globals
    for name in ("top", "left", "height", "width", "flipped"):
        assert torch.equal(getattr(here.crops, name), getattr(there.crops, name).cpu())
    torch.testing.assert_close(there.pixels.cpu(), here.pixels, rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_graph_can_hold_it():
    augment, index = Augment(FULL, MEAN, STD), torch.arange(12, device="cuda")
    images, u = batch().cuda(), numbers(augment).cuda()
    augment(images, u, index)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        views = augment(images, u, index)
    u.copy_(numbers(augment, seed=1))
    graph.replay()
    torch.testing.assert_close(views.globals.pixels, augment(images, u, index).globals.pixels)


def test_bad_input_is_refused_in_one_line():
    augment, images, index = Augment(FULL, MEAN, STD), batch(), torch.arange(12)
    u = numbers(augment)
    for arguments, message in (
        (
            (images.float(), u, index),
            r"images are torch.float32 \(12, 20, 24, 3\); expected torch.uint8 \(B, H, W, 3\)",
        ),
        ((images[0], u, index), r"images are torch.uint8 \(20, 24, 3\)"),
        (
            (images, u[:, 1:], index),
            rf"u has shape \(12, {augment.uniforms - 1}\); 12 images take \(12, {augment.uniforms}\)",
        ),
        ((images[:5], u, index), r"u has shape \(12, \d+\); 5 images take \(5, \d+\)"),
    ):
        with pytest.raises(BadInput, match=message):
            augment(*arguments)
    with pytest.raises(BadInput, match=r"sizes has shape \(12,\); 12 images have \(12, 2\)"):
        augment(images, u, index, sizes=torch.ones(12, dtype=torch.int32))
