"""Texts to token ids as BERT takes them, with a vocabulary from a file or from the texts themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from phenobench.errors import InputError

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
# A text in an error is cut after so many characters.
_SHOWN = 60


def build_tokenizer(texts: Sequence[str], most: int) -> Tokenizer:
    """A cased tokenizer whose vocabulary is the words of these texts, for models without a tokenizer of their own.

    The special tokens come first, [PAD] is 0; then the single characters, which spell all other words; then
    words, those of the most texts first, up to ``most`` tokens in all. The same texts, in whatever order and
    however often, give the same vocabulary.
    """
    normalizer, splitter = BertNormalizer(lowercase=False), BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in set(texts):
        counts.update({word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))})
    letters = sorted({letter for word in counts for letter in word})
    spelling = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    words = sorted(counts.keys() - set(letters), key=lambda word: (-counts[word], word))
    vocabulary = spelling + words[: max(0, most - len(spelling))]
    return _word_pieces({token: number for number, token in enumerate(vocabulary)})


def read_tokenizer(path: Path) -> Tokenizer:
    """BERT's cased tokenizer from a ``tokenizer.json``, or from a ``vocab.txt`` with one token a line.

    Raises:
        InputError: the file cannot be read, is neither, or lacks one of BERT's special tokens.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a tokenizer.json or a vocab.txt") from error
    return parse_tokenizer(content, str(path))


def parse_tokenizer(content: str, origin: str) -> Tokenizer:
    """A tokenizer from the text of its file, see ``read_tokenizer``.

    Raises:
        InputError: the text is neither, or lacks one of BERT's special tokens.
    """
    if content.startswith("{"):
        try:
            tokenizer = Tokenizer.from_str(content)
        except Exception as error:  # the library raises nothing narrower
            raise InputError(f"{origin} is no tokenizer.json ({error}); fetch it again") from error
    else:
        # Not splitlines: the vocabulary has line breaks of other scripts for tokens.
        tokens = content.removesuffix("\n").split("\n")
        _demand_special(tokens, origin)
        tokenizer = _word_pieces({token: number for number, token in enumerate(tokens)})
    _demand_special(tokenizer.get_vocab(), origin)
    return tokenizer


def encode(
    tokenizer: Tokenizer, texts: Sequence[str], *, vocabulary: int, positions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and attention mask of texts, int64 (n, length), padded to the longest; nothing is cut off.

    Args:
        tokenizer: as made here.
        texts: n texts.
        vocabulary: tokens that the model has.
        positions: tokens that a text may have, with [CLS] and [SEP].

    Raises:
        InputError: the tokenizer knows more tokens than the model, or a text is too long, which is named.
    """
    known = 1 + max(tokenizer.get_vocab().values())
    if known > vocabulary:
        raise InputError(f"the tokenizer has {known} tokens and the model {vocabulary}; give the model's own tokenizer")
    tokenizer.no_truncation()
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]"))
    encoded = tokenizer.encode_batch(list(texts))
    mask = np.array([text.attention_mask for text in encoded], dtype=np.int64)
    longest = int(mask.sum(axis=1).argmax())
    length = int(mask[longest].sum())
    if length > positions:
        raise InputError(
            f"the text '{texts[longest][:_SHOWN]}...' has {length} tokens and the model takes {positions}; shorten it"
        )
    return np.array([text.ids for text in encoded], dtype=np.int64), mask


def _word_pieces(vocabulary: Mapping[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(WordPiece(dict(vocabulary)))
    tokenizer.normalizer = BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


def _demand_special(tokens: Sequence[str] | Mapping[str, int], origin: str) -> None:
    missing = [token for token in _SPECIAL if token not in tokens]
    if missing:
        raise InputError(f"{origin} lacks {', '.join(missing)}; give the tokenizer.json or vocab.txt of a BERT")
