"""Batches of one epoch: random indices and their images, on the device.

Resident images are indexed there, others prefetched.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor


class Batches:
    """Every epoch in a new order, drawn for the global batch; each rank takes its rows; the last, smaller
    batch is dropped.

    image_set: its images are a tensor on the device (resident), or on the CPU beside a CUDA device (the next
    batch is read and pinned by a thread while this one is used).  rows: images of this rank in a step.
    """

    def __init__(self, image_set, rows: int, ranks):
        self.image_set, self.rows, self.ranks = image_set, rows, ranks
        self.steps = len(image_set) // (rows * ranks.world)
        self.resident = image_set.images.device.type == ranks.device.type

    def epoch(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """index (rows,), images (rows, H, W, 3) uint8, sizes (rows, 2) or None, all on the device."""
        order = self.ranks.permutation(len(self.image_set))
        own, whole = self.ranks.own(self.rows), self.rows * self.ranks.world
        parts = [order[step * whole : (step + 1) * whole][own] for step in range(self.steps)]
        if self.resident:
            for index in parts:
                yield (
                    index,
                    self.image_set.images[index],
                    None if self.image_set.sizes is None else self.image_set.sizes[index],
                )
            return
        with ThreadPoolExecutor(1) as reader:
            waiting = reader.submit(self._read, parts[0].cpu()) if parts else None
            for step in range(self.steps):
                images, sizes = waiting.result()
                if step + 1 < self.steps:
                    waiting = reader.submit(self._read, parts[step + 1].cpu())
                move = {"device": self.ranks.device, "non_blocking": True}
                yield parts[step], images.to(**move), None if sizes is None else sizes.to(**move)

    def _read(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        order = np.argsort(index.numpy())  # read the file forwards
        images = torch.empty(len(index), *self.image_set.images.shape[1:], dtype=torch.uint8)
        images[order] = self.image_set.images[index[order]]
        sizes = None if self.image_set.sizes is None else self.image_set.sizes[index]
        if self.ranks.device.type == "cuda":
            images, sizes = images.pin_memory(), None if sizes is None else sizes.pin_memory()
        return images, sizes
