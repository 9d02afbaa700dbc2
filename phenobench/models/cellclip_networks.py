"""CellCLIP's networks: sites to wells, wells to embeddings, texts to embeddings.

Written from a description of the model (Lu et al. 2025, arXiv 2506.06290); parameter names are those
of the published file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import nn
from transformers import BertConfig, BertModel

from phenobench.errors import InputError
from phenobench.models.weights import checked, random_state, require, skeleton

# What the temperature of the contrastive loss starts from, as a factor on cosines.
_LOGIT_SCALE = 1 / 0.07
# All BERTs of the usual sizes have heads of this width, which no tensor shows.
_TEXT_HEAD_WIDTH = 64
_BERT_EPSILON = 1e-12
# The sizes are read from these.
_TELLING = (
    "visual.channel_embed",
    "visual.proj",
    "image_pool.V.weight",
    "text.embeddings.word_embeddings.weight",
    "text.embeddings.position_embeddings.weight",
    "text.encoder.layer.0.intermediate.dense.weight",
)


class CellClipShape(BaseModel):
    """The sizes of CellCLIP; the defaults are the published model's.

    Attributes:
        channels: image channels; each has an embedding of its own, by place.
        vision_width: features of a channel, as DINOv2 gives them.
        vision_layers: blocks of the image tower.
        vision_heads: its attention heads, which no tensor shows.
        pool_hidden: hidden features of the attention over sites.
        output: features of an embedding.
        text_vocabulary: rows of the token table.
        text_positions: tokens that a text may have.
        text_width: features of a token; heads are 64 wide.
        text_layers: blocks of the text tower.
        text_hidden: hidden features of its blocks' MLPs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: PositiveInt = 5
    vision_width: PositiveInt = 1536
    vision_layers: PositiveInt = 12
    vision_heads: PositiveInt = 8
    pool_hidden: PositiveInt = 128
    output: PositiveInt = 512
    text_vocabulary: PositiveInt = 28996
    text_positions: PositiveInt = 512
    text_width: PositiveInt = 768
    text_layers: PositiveInt = 12
    text_hidden: PositiveInt = 3072

    @model_validator(mode="after")
    def _heads_divide_widths(self) -> Self:
        if self.vision_width % self.vision_heads or self.text_width % _TEXT_HEAD_WIDTH:
            raise ValueError(
                f"{self.vision_heads} heads must divide the width {self.vision_width}, "
                f"and {_TEXT_HEAD_WIDTH} the text width {self.text_width}"
            )
        return self


class GatedAttentionPooling(nn.Module):
    """Multiple-instance pooling with gated attention (Ilse et al. 2018), each channel for itself."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.V = nn.Linear(width, hidden)
        self.U = nn.Linear(width, hidden)
        self.attention = nn.Linear(hidden, 1)

    def forward(self, instances: torch.Tensor) -> torch.Tensor:
        """From (n, m, c, d) to (n, c, d): a weighted mean over m; zero instances are padding and weigh nothing."""
        scores = self.attention(torch.tanh(self.V(instances)) * torch.sigmoid(self.U(instances)))
        weights = scores.masked_fill(~_present(instances), -math.inf).softmax(dim=1)
        return (weights * instances).sum(dim=1)


def _present(instances: torch.Tensor) -> torch.Tensor:
    """Which instances (n, m, c, d) are more than padding, that is not all zero: bool (n, m, c, 1)."""
    return instances.ne(0).any(dim=-1, keepdim=True)


def mean_pooling(instances: torch.Tensor) -> torch.Tensor:
    """From (n, m, c, d) to (n, c, d): the mean over the instances that are no padding."""
    return instances.sum(dim=1) / _present(instances).sum(dim=1)


class CrossChannelFormer(nn.Module):
    """A transformer over the channels of a well, read out at a CLS token."""

    def __init__(self, shape: CellClipShape) -> None:
        super().__init__()
        width = shape.vision_width
        self.channel_embed = nn.Parameter(torch.zeros(shape.channels, width))
        self.cls_token = nn.Parameter(torch.zeros(1, width))
        self.channel_ln = nn.LayerNorm(width)
        self.ln_pre = nn.LayerNorm(width)
        blocks = (_Block(width, shape.vision_heads) for _ in range(shape.vision_layers))
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, shape.output))

    def forward(self, wells: torch.Tensor) -> torch.Tensor:
        """Embeddings (n, output), not normalized, of wells (n, c, width), which are left as they are."""
        channels = self.channel_ln(wells + self.channel_embed)
        start = self.cls_token.expand(len(wells), 1, -1).to(channels.dtype)
        tokens = self.ln_pre(torch.cat([start, channels], dim=1))
        for block in self.transformer["resblocks"]:  # type: ignore[attr-defined]
            tokens = block(tokens)
        embedded: torch.Tensor = self.ln_post(tokens[:, 0]) @ self.proj
        return embedded


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        normed = self.ln_1(tokens)
        tokens = tokens + self.attn(normed, normed, normed, need_weights=False)[0]
        hidden = self.mlp["c_fc"](self.ln_2(tokens))
        # The sigmoid form of GELU that CLIP has.
        changed: torch.Tensor = tokens + self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))
        return changed


class CellClipNetwork(nn.Module):
    """Both towers and the pooling of sites; parameters start as PyTorch makes them."""

    def __init__(self, shape: CellClipShape) -> None:
        super().__init__()
        self.shape = shape
        self.logit_scale = nn.Parameter(torch.tensor(math.log(_LOGIT_SCALE)))
        self.image_pool = GatedAttentionPooling(shape.vision_width, shape.pool_hidden)
        self.visual = CrossChannelFormer(shape)
        self.text = BertModel(
            BertConfig(
                vocab_size=shape.text_vocabulary,
                hidden_size=shape.text_width,
                num_hidden_layers=shape.text_layers,
                num_attention_heads=shape.text_width // _TEXT_HEAD_WIDTH,
                intermediate_size=shape.text_hidden,
                max_position_embeddings=shape.text_positions,
                layer_norm_eps=_BERT_EPSILON,
            )
        )
        self.text_proj = nn.Linear(shape.text_width, shape.output)

    def encode_tokens(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embeddings (n, output), not normalized, of token ids (n, length); the mask is 0 at padding."""
        embedded: torch.Tensor = self.text_proj(self.text(input_ids=ids, attention_mask=mask).pooler_output)
        return embedded


def infer_shape(state: Mapping[str, torch.Tensor], heads: int, origin: str) -> CellClipShape:
    """The sizes that a file's tensors show; its number of vision heads has to be said.

    Raises:
        InputError: tensors are missing or not CellCLIP's.
    """
    require(state, _TELLING, origin)
    sizes = [tuple(state[key].shape) for key in _TELLING]
    if any(len(size) != 2 for size in sizes):
        raise InputError(f"{origin}: {', '.join(_TELLING)} are not all matrices; it is another model's file")
    (channels, width), (_, output), (pool, _), (vocabulary, text), (positions, _), (hidden, _) = sizes
    try:
        return CellClipShape(
            channels=channels,
            vision_width=width,
            vision_layers=_layers(state, r"visual\.transformer\.resblocks\.(\d+)\."),
            vision_heads=heads,
            pool_hidden=pool,
            output=output,
            text_vocabulary=vocabulary,
            text_positions=positions,
            text_width=text,
            text_layers=_layers(state, r"text\.encoder\.layer\.(\d+)\."),
            text_hidden=hidden,
        )
    except ValueError as error:
        raise InputError(f"{origin} has sizes that do not make a CellCLIP ({sizes}); it is another model's") from error


def _layers(state: Mapping[str, torch.Tensor], pattern: str) -> int:
    return 1 + max((int(match[1]) for key in state if (match := re.match(pattern, key))), default=-1)


def build(shape: CellClipShape, state: Mapping[str, torch.Tensor], origin: str) -> CellClipNetwork:
    """The network with these weights, which it shares, in evaluation mode, on the CPU.

    Raises:
        InputError: parameters are missing or of another shape; the first five are named.
    """
    network = skeleton(partial(CellClipNetwork, shape))
    network.load_state_dict(checked(state, network, origin), assign=True)
    # Two constant tables of BERT are in no file, and making the network off the meta device would draw 450 M numbers.
    positions = torch.arange(shape.text_positions)[None]
    network.text.embeddings.register_buffer("position_ids", positions, persistent=False)
    network.text.embeddings.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)
    return network.eval().requires_grad_(False)


def random_weights(shape: CellClipShape, seed: int) -> dict[str, torch.Tensor]:
    """Weights from a seed alone, see ``weights.random_state``; the temperature is the one that training starts from."""
    state = random_state(skeleton(partial(CellClipNetwork, shape)), seed)
    state["logit_scale"] = torch.tensor(math.log(_LOGIT_SCALE))
    return state
