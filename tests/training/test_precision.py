import pytest
import torch

from partwhole import machine
from partwhole.errors import BadInput
from partwhole.training import precision
from partwhole.training.precision import LossScale, choose


@pytest.mark.parametrize(
    ("device", "capability", "flags", "expected"),
    [
        ("cuda", (9, 0), (), "bf16"),
        ("cuda", (8, 0), (), "bf16"),
        ("cuda", (7, 5), ("amx_bf16",), "fp16"),  # a T4, whatever its host can do
        ("cpu", None, ("avx2", "amx_bf16"), "bf16"),
        ("cpu", None, ("avx512f", "avx512_bf16"), "bf16"),
        ("cpu", None, ("avx2", "avx512f", "avx512_vnni"), "fp32"),
        ("cpu", None, (), "fp32"),
        ("mps", None, ("amx_bf16",), "fp32"),
    ],
)
def test_auto_follows_the_hardware(device, capability, flags, expected):
    # a loss scale needs memory on its device, so fp16 on CUDA is looked at without building one
    built = []
    original, precision.LossScale = precision.LossScale, lambda where: built.append(where)
    try:
        chosen = choose("auto", torch.device(device), capability=lambda _: capability, flags=lambda: flags)
    finally:
        precision.LossScale = original
    assert chosen.name == expected
    assert bool(built) == (expected == "fp16")


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_a_named_precision_is_obeyed_and_autocasts(name, dtype):
    chosen = choose(
        name, torch.device("cpu"), flags=lambda: pytest.fail("asked for by name: nothing to detect")
    )
    with chosen.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert (chosen.scaler is not None) == (name == "fp16")


def test_unknown_precision_is_refused_in_one_line():
    with pytest.raises(BadInput, match=r"^unknown precision 'fp61'; did you mean fp16\?$"):
        choose("fp61", torch.device("cpu"))


@pytest.mark.parametrize(("flags", "expected"), [({"avx2", "amx_bf16"}, "bf16"), ({"avx2"}, "fp32")])
def test_flags_are_those_that_the_record_of_the_machine_is_made_from(monkeypatch, flags, expected):
    monkeypatch.setattr(machine, "processor", lambda: ("a processor", flags))
    assert choose("auto", torch.device("cpu")).name == expected


def test_device_is_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert precision.device() == torch.device("cuda")
    assert precision.device("cuda:0") == torch.device("cuda:0")
    assert precision.device("cpu") == torch.device("cpu")
    with pytest.raises(
        BadInput, match=r"^device cuda:3 was asked for but torch sees 1 GPU\(s\), numbered from 0$"
    ):
        precision.device("cuda:3")


def test_absent_gpu_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert precision.device() == torch.device("cpu")
    with pytest.raises(BadInput, match=r"^device cuda was asked for but torch sees no CUDA GPU; use cpu, or"):
        precision.device("cuda")
    with pytest.raises(BadInput, match=r"^unknown device 'gpu'; use cpu, cuda or cuda:0$"):
        precision.device("gpu")


def torchs(every):
    """torch's own rule for the scale, on the device: the operation behind GradScaler.update."""
    value, good = torch.tensor(65536.0), torch.tensor(0, dtype=torch.int32)

    def update(bad):
        torch._amp_update_scale_(value, good, torch.tensor(float(bad)), 2.0, 0.5, every)
        return value.item(), good.item()

    return update


def test_scale_follows_torchs_rule_over_good_and_bad_steps():
    ours, theirs = LossScale("cpu", every=4), torchs(every=4)
    generator = torch.Generator().manual_seed(0)
    for bad in (torch.rand(60, generator=generator) < 0.2).tolist():
        gradient = torch.ones(3) if not bad else torch.tensor([1.0, float("nan"), float("inf")])
        assert ours.unscale_and_check([gradient, torch.ones(2), None]).item() == bad
        assert (ours.value.item(), ours.good.item()) == theirs(bad)
    assert ours.value.item() != 65536.0


@pytest.mark.parametrize("bad", [float("inf"), -float("inf"), float("nan")])
def test_one_bad_number_anywhere_is_found(bad):
    gradients = [torch.zeros(4, 4), torch.ones(3)]
    gradients[0][2, 1] = bad
    assert LossScale("cpu").unscale_and_check(gradients).item() == 1


def test_scaled_gradients_come_back_and_small_ones_survive_fp16():
    weight = torch.tensor([2.0], requires_grad=True)
    scale = LossScale("cpu")
    (scale.scale((weight.half() * 1e-8).sum().float())).backward()
    assert (torch.tensor(1e-8).half() == 0).item(), "unscaled, this gradient is below fp16's smallest number"
    weight.grad = None
    (scale.scale((weight * 1e-8).sum()).half().float()).backward()
    assert scale.unscale_and_check([weight.grad]).item() == 0
    torch.testing.assert_close(weight.grad, torch.tensor([1e-8]), rtol=1e-6, atol=0)


def test_scale_never_grows_past_the_largest_number():
    scale = LossScale("cpu", initial=3e38, every=1)
    scale.unscale_and_check([torch.ones(1)])
    assert scale.value.isfinite() and scale.value.item() == pytest.approx(3e38)


def test_loss_scale_is_restored_into_its_own_tensors():
    first, second = LossScale("cpu", every=3), LossScale("cpu", every=3)
    for gradient in (torch.ones(1), torch.tensor([float("inf")]), torch.ones(1)):
        first.unscale_and_check([gradient])
    value = second.value
    second.load_state_dict(first.state_dict())
    first.unscale_and_check([torch.ones(1)])
    assert second.value is value
    assert (second.value.item(), second.good.item()) == (32768.0, 1)
