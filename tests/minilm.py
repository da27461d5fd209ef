"""MiniLM-L6 as a module: BERT's encoder (arXiv 1810.04805), with the names of the published state dict. And its words as numbers."""

from __future__ import annotations

import torch
from torch import nn

WORDS, WIDTH, LAYERS, HEADS, INNER, POSITIONS = 30522, 384, 6, 12, 1536, 512


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in ("query", "key", "value")})
        self.output = nn.ModuleDict({"dense": nn.Linear(WIDTH, WIDTH), "LayerNorm": nn.LayerNorm(WIDTH, eps=1e-12)})

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        q, k, v = (self.self[name](x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for name in ("query", "key", "value"))
        weights = torch.softmax(q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5 + bias, -1)
        return self.output["LayerNorm"](x + self.output["dense"]((weights @ v).transpose(1, 2).flatten(2)))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, INNER)})
        self.output = nn.ModuleDict({"dense": nn.Linear(INNER, WIDTH), "LayerNorm": nn.LayerNorm(WIDTH, eps=1e-12)})

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        x = self.attention(x, bias)
        return self.output["LayerNorm"](x + self.output["dense"](nn.functional.gelu(self.intermediate["dense"](x))))


class MiniLM(nn.Module):
    """The mean of the last layer over the words that ``attention_mask`` counts, at length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Module()
        self.embeddings.word_embeddings = nn.Embedding(WORDS, WIDTH)
        self.embeddings.position_embeddings = nn.Embedding(POSITIONS, WIDTH)
        self.embeddings.token_type_embeddings = nn.Embedding(2, WIDTH)
        self.embeddings.LayerNorm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.embeddings.register_buffer("position_ids", torch.arange(POSITIONS)[None])
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer() for _ in range(LAYERS))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(WIDTH, WIDTH)})

    def forward(self, input_ids: torch.LongTensor, attention_mask: torch.LongTensor) -> torch.Tensor:
        e = self.embeddings
        x = e.word_embeddings(input_ids) + e.position_embeddings(e.position_ids[:, :input_ids.shape[1]]) + e.token_type_embeddings.weight[0]
        x = e.LayerNorm(x)
        mask = attention_mask.to(x.dtype)
        bias = (1 - mask)[:, None, None] * -1e9
        for layer in self.encoder["layer"]:
            x = layer(x, bias)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return nn.functional.normalize(mean)


def tokens(sentence: str, vocabulary: dict[str, int]) -> list[int]:
    """Word pieces, longest first, between [CLS] and [SEP]; the sentence is of lower-case words and spaces."""
    found = [vocabulary["[CLS]"]]
    for word in sentence.lower().split():
        start = 0
        while start < len(word):
            pieces = ((end, vocabulary.get(("##" if start else "") + word[start:end])) for end in range(len(word), start, -1))
            start, number = next((end, number) for end, number in pieces if number is not None)
            found.append(number)
    return [*found, vocabulary["[SEP]"]]
