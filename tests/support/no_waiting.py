"""A step must never make the host wait for the device: a mode that fails on what would."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class NoWaiting(TorchDispatchMode):
    """Fails on whatever makes the host wait for the device."""

    WAITS = ("aten._local_scalar_dense", "aten.nonzero", "aten.is_nonzero", "aten.equal.", "aten.item")

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = str(function)
        if name.startswith(self.WAITS):
            raise AssertionError(f"{name} makes the host wait for the device")
        if name.startswith("aten.index") and any(
            t is not None and t.dtype == torch.bool for t in arguments[1] or ()
        ):
            raise AssertionError(f"{name} by a mask has a shape that only the device knows")
        to = (keywords or {}).get("device")
        if (
            name.startswith("aten._to_copy")
            and arguments[0].device.type != "cpu"
            and to is not None
            and to.type == "cpu"
        ):
            raise AssertionError(f"{name} copies to the host")
        return function(*arguments, **(keywords or {}))
