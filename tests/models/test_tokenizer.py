"""Tokens: equal to transformers' own BERT tokenizer, vocabularies from texts, files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertTokenizer

from phenobench.errors import InputError
from phenobench.models.tokenizer import build_tokenizer, encode, read_tokenizer

VOCABULARY = [
    *("[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "U", "##2", "##OS", "cells", "treat", "##ed"),
    *("with", "compound", ":", ",", "(", ")", "=", "O", "C", "##C", "##c", "\N{LINE SEPARATOR}", "caf\u00e9"),
]
TEXTS = [
    "U2OS cells treated with compound: CC(=O)Oc, caf\u00e9",
    "U2OS  cells\ttreated",
    "u2os Cells " + "C" * 101,
    "",
]


def vocabulary_file(folder: Path) -> Path:
    path = folder / "vocab.txt"
    path.write_bytes(("\n".join(VOCABULARY) + "\n").encode())
    return path


def test_ids_are_those_of_the_usual_tokenizer(tmp_path: Path) -> None:
    usual = BertTokenizer(vocab={token: number for number, token in enumerate(VOCABULARY)}, do_lower_case=False)
    wanted = usual(TEXTS, padding=True)
    plain = read_tokenizer(vocabulary_file(tmp_path))
    plain.save(str(tmp_path / "tokenizer.json"))
    usual.save_pretrained(tmp_path / "usual")
    for tokenizer in (
        plain,
        read_tokenizer(tmp_path / "tokenizer.json"),
        read_tokenizer(tmp_path / "usual" / "tokenizer.json"),
    ):
        ids, mask = encode(tokenizer, TEXTS, vocabulary=len(VOCABULARY), positions=512)
        assert ids.tolist() == wanted["input_ids"]
        assert mask.tolist() == wanted["attention_mask"]


def test_a_file_that_cuts_texts_off_does_not_here(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(vocabulary_file(tmp_path))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=300)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ids, _ = encode(read_tokenizer(tmp_path / "tokenizer.json"), ["cells " * 7], vocabulary=100, positions=9)
    assert ids.tolist() == [[3, *[9] * 7, 4]]


def test_a_vocabulary_of_the_texts_themselves() -> None:
    texts = ["U2OS cells treated with CC(=O)", "control, no treatment."]
    tokenizer = build_tokenizer(texts, 100)
    assert tokenizer.get_vocab() == build_tokenizer([*reversed(texts), texts[0]], 100).get_vocab()
    assert [tokenizer.id_to_token(number) for number in range(4)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = ["U2OS", "cells", "treated", "with", "CC", "(", "=", "O", ")"]
    assert tokenizer.encode(texts[0]).tokens == ["[CLS]", *words, "[SEP]"]
    # Words it has not seen are spelt, in letters that it has.
    assert tokenizer.encode("cell Q").tokens == ["[CLS]", "c", "##e", "##l", "##l", "[UNK]", "[SEP]"]


def test_the_words_of_most_texts_fit_where_not_all_do() -> None:
    texts = ["ab bc", "ab cd", "bc ab", "dd dd dd"]
    tokenizer = build_tokenizer(texts, 14)
    assert tokenizer.encode("ab bc cd dd").tokens[1:-1] == ["ab", "bc", "c", "##d", "d", "##d"]
    assert build_tokenizer(texts, 13).encode("ab bc").tokens[1:-1] == ["ab", "b", "##c"]


def test_a_text_that_is_too_long_is_named_with_its_tokens() -> None:
    tokenizer = build_tokenizer(["a b"], 100)
    texts = ["a", "b " + "a " * 60]
    with pytest.raises(InputError, match=r"the text 'b a a .*\.\.\.' has 63 tokens and the model takes 62") as caught:
        encode(tokenizer, texts, vocabulary=100, positions=62)
    assert len(str(caught.value)) < 160
    assert encode(tokenizer, texts, vocabulary=100, positions=63)[0].shape == (2, 63)


def test_a_vocabulary_larger_than_the_models_is_refused() -> None:
    tokenizer = build_tokenizer(["a b"], 100)
    size = len(tokenizer.get_vocab())
    assert encode(tokenizer, ["a"], vocabulary=size, positions=9)[0].shape == (1, 3)
    with pytest.raises(InputError, match=f"has {size} tokens and the model {size - 1}"):
        encode(tokenizer, ["a"], vocabulary=size - 1, positions=9)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{}", "is no tokenizer.json"),
        (b"\xff\xfe", "cannot be read"),
        (b"cells\n[PAD]\n[CLS]", r"lacks \[UNK\], \[SEP"),
    ],
)
def test_files_that_are_no_tokenizers(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(InputError, match=f"vocab.txt {said}"):
        read_tokenizer(tmp_path / "vocab.txt")
    with pytest.raises(InputError, match="absent cannot be read"):
        read_tokenizer(tmp_path / "absent")
