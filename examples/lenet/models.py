"""LeNet-5 and LeNet-300-100 for MNIST, as plain torch modules.

Both take ``[N, 1, 28, 28]`` float32, pixels in 0..1 (byte / 255, white ink on black), and return logits ``[N, 10]``.
The factories need no arguments, so a state dict can be packed with ``--arch examples.lenet.models:lenet5``.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class LeNet5(nn.Module):
    """LeNet-5 in Caffe's form, 431,080 parameters (Deep Compression, arXiv 1510.00149, table 1 and table 3).

    No activation follows the convolutions: in this form the pooling and the one ReLU are the only nonlinearities.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(800, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.conv1(image), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


class LeNet300(nn.Module):
    """LeNet-300-100, 266,610 parameters (LeCun et al. 1998, "Gradient-based learning", section III.C; arXiv 1510.00149, table 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.fc1(torch.flatten(image, 1)))
        return self.fc3(F.relu(self.fc2(x)))


def lenet5() -> nn.Module:
    """An untrained LeNet-5."""
    return LeNet5()


def lenet300() -> nn.Module:
    """An untrained LeNet-300-100."""
    return LeNet300()
