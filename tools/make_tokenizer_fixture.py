#!/usr/bin/env python3
"""Writes the small tokenizers of tests/data/tokenizers/ and what they must give.

    python3 tools/make_tokenizer_fixture.py        (no packages needed; the output is the same every time)

Four vocabularies learnt from the paragraph below, each with an `expected.json` of texts and ids computed here by
the plainest algorithm there is (merge the best pair, look again; try every way to cut a text), so that the engine's
queues and tables are checked against something that shares no code or idea with them:

  bpe/       byte-level BPE as OPT publishes it: vocab.json, merges.txt, tokenizer_config.json
  spm/       tokenizer.model, SentencePiece BPE with byte fallback (the protocol buffer is written by hand)
  unigram/   tokenizer.json, Unigram
  wordpiece/ vocab.txt and tokenizer.json, WordPiece that ignores case and accents; expected_cased.json: that does not
"""
import collections
import json
import math
import pathlib
import struct
import unicodedata

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "tokenizers"
MARK = "\u2581"
PARAGRAPH = """The miller had two sons and a grey donkey, and the donkey was the cleverest of the three. When the wind
blew from the west the mill went round and round, and the miller sang; when there was no wind he said that there
never would be any again. "It is 12 miles to the sea," said the elder son, "and there is wind enough there for 100
mills." "Then fetch it," said the miller. So the son took a sack and the donkey and went to fetch the wind, and the
younger son, who couldn't bear to be left behind, went with them."""
TEXTS = ["", " ", "  ", "a", "the", " the", "The miller", "the  donkey\n\nwent", "and there, and there!", "12 miles, 1000 mills",
         "couldn't wouldn't", "xyz \u00e9t\u00e9 \u4e2d\u6587 \U0001f999", "\tthe\t\twind ", "mill" * 12, "ththththtththe", "... \"quoted\"?!"]


def best_pair(words):
    """The most frequent pair of neighbours; of equals the first in order of the alphabet."""
    pairs = collections.Counter()
    for word, n in words.items():
        for pair in zip(word, word[1:]):
            pairs[pair] += n
    return min(pairs, key=lambda p: (-pairs[p], p))


def merged(word, pair):
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def learn(words, n_merges):
    words, merges = dict(words), []
    for _ in range(n_merges):
        pair = best_pair(words)
        merges.append(pair)
        next_words = collections.Counter()
        for word, n in words.items():
            next_words[merged(word, pair)] += n
        words = next_words
    return merges


def encode_by_rank(symbols, rank):
    """Merges the leftmost pair of the best rank, until there is none."""
    symbols = list(symbols)
    while True:
        ranked = [(rank[p], i) for i, p in enumerate(zip(symbols, symbols[1:])) if p in rank]
        if not ranked:
            return symbols
        i = min(ranked)[1]
        symbols[i:i + 2] = [symbols[i] + symbols[i + 1]]


# --- byte-level BPE -------------------------------------------------------------------------------


def byte_alphabet():
    own = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255]
    chars = {b: chr(b) for b in own}
    for n, b in enumerate(b for b in range(256) if b not in own):
        chars[b] = chr(256 + n)
    return chars


def gpt2_words(text):
    """GPT-2's pattern by hand: contractions, then runs of one class with at most one space before."""
    def kind(c):
        if c.isspace():
            return "space"
        return {"L": "letter", "N": "number"}.get(unicodedata.category(c)[0], "other")

    words, i = [], 0
    while i < len(text):
        for tail in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"):
            if text.startswith(tail, i):
                words.append(tail)
                i += len(tail)
                break
        else:
            begin = i
            j = i + 1 if text[i] == " " and i + 1 < len(text) and kind(text[i + 1]) != "space" else i
            k = kind(text[j])
            while j < len(text) and kind(text[j]) == k:
                j += 1
            if k == "space" and j < len(text) and j - begin > 1:
                j -= 1  # the last one belongs to the word that follows, or stands alone
            words.append(text[begin:j])
            i = j
    return words


def make_bpe(out):
    chars = byte_alphabet()
    spell = lambda s: "".join(chars[b] for b in s.encode())
    words = collections.Counter(tuple(spell(w)) for w in gpt2_words(PARAGRAPH))
    merges = learn(words, 120)
    pieces = ["<s>", "<pad>", "</s>", "<unk>"] + [chars[b] for b in range(256)] + ["".join(m) for m in merges]
    ids = {p: i for i, p in enumerate(pieces)}
    rank = {m: i for i, m in enumerate(merges)}
    (out / "vocab.json").write_text(json.dumps(ids, ensure_ascii=True, indent=0))
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    (out / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "add_bos_token": True,
         "add_prefix_space": False, "tokenizer_class": "GPT2Tokenizer"}, indent=1))
    return [[t, [ids[p] for w in gpt2_words(t) for p in encode_by_rank(spell(w), rank)]] for t in TEXTS]


# --- SentencePiece BPE ----------------------------------------------------------------------------


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    """One protocol buffer field: int as varint, float as fixed 32, bytes with their length."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def make_spm(out):
    text = MARK + PARAGRAPH.replace(" ", MARK)
    words = collections.Counter(tuple(MARK + w) for w in text.split(MARK)[1:])
    merges = learn(words, 100)
    letters = sorted(set(text) - {"\n"})
    learnt = list(dict.fromkeys(["".join(m) for m in merges])) + letters
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)]
    pieces += [(p, -float(i), 1) for i, p in enumerate(learnt)]
    model = b"".join(field(1, field(1, p.encode()) + field(2, s) + field(3, t)) for p, s, t in pieces)
    model += field(2, field(3, 2) + field(35, 1) + field(40, 0) + field(41, 1) + field(42, 2))
    model += field(3, field(1, b"identity") + field(3, 1) + field(4, 0) + field(5, 1))
    (out / "tokenizer.model").write_bytes(model)
    ids = {p: i for i, (p, _, _) in enumerate(pieces)}
    score_rank = {p: i for i, p in enumerate(learnt)}
    # SentencePiece ranks a merge by the piece that it makes.
    rank = {(p[:i], p[i:]): score_rank[p] for p in learnt for i in range(1, len(p))}
    expected = []
    for t in TEXTS:
        marked = (MARK + t.replace(" ", MARK)) if t else ""
        row = []
        for p in encode_by_rank(marked, rank):
            row += [ids[p]] if p in ids else [ids[f"<0x{b:02X}>"] for b in p.encode()]
        expected.append([t, row])
    return expected


# --- Unigram --------------------------------------------------------------------------------------


def best_cut(text, score, unknown):
    """The best way to write `text`, over all ways: recursion with a memo. Unknown characters are None."""
    best = {len(text): (0.0, [])}
    for i in range(len(text) - 1, -1, -1):
        ways = []
        for j in range(i + 1, len(text) + 1):
            piece = text[i:j]
            if piece in score:
                ways.append((score[piece] + best[j][0], [piece] + best[j][1]))
            elif j == i + 1:
                ways.append((unknown + best[j][0], [None] + best[j][1]))
        best[i] = max(ways, key=lambda w: w[0])
    return best[0][1]


def make_unigram(out):
    words = [MARK + w for w in PARAGRAPH.split()]
    counts = collections.Counter(w[i:j] for w in words for i in range(len(w)) for j in range(i + 1, min(i + 6, len(w)) + 1))
    kept = [p for p, n in sorted(counts.items(), key=lambda c: (-c[1] * len(c[0]), c[0])) if n > 2 or len(p) == 1][:200]
    kept += sorted({c for w in words for c in w} - set(kept))
    total = sum(counts[p] for p in kept)
    # Irregular in the last digits, so that no two ways to cut a text have equal scores.
    vocab = [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0]]
    vocab += [[p, round(math.log(counts[p] / total) * len(p) ** 0.25 - 0.00137 * i, 5)] for i, p in enumerate(kept)]
    token = lambda i, text: {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                             "normalized": False, "special": True}
    (out / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [token(0, "<pad>"), token(1, "</s>"), token(2, "<unk>")], "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": MARK, "add_prefix_space": True}]},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                           "pair": [], "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "decoder": {"type": "Metaspace", "replacement": MARK, "add_prefix_space": True},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab}}, indent=0))
    score = {p: s for p, s in vocab[3:]}
    ids = {p: i for i, (p, _) in enumerate(vocab)}
    unknown = min(score.values()) - 10
    expected = []
    for t in TEXTS:
        row = []
        for word in t.split():
            parts = best_cut(MARK + word, score, unknown)
            # A run of unknown characters is one token.
            row += [ids[p] if p else 2 for k, p in enumerate(parts) if p or k == 0 or parts[k - 1]]
        expected.append([t, row])
    return expected


# --- WordPiece ------------------------------------------------------------------------------------


def is_chinese(c):
    ranges = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
              (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
    return any(low <= ord(c) <= high for low, high in ranges)


def bert_words(text, lower):
    """The words of Google's BasicTokenizer: cleaned, Chinese characters and punctuation apart."""
    out = ""
    for c in text:
        category = unicodedata.category(c)
        if c in "\t\n\r" or category == "Zs":
            out += " "
        elif ord(c) not in (0, 0xFFFD) and not category.startswith("C"):
            out += f" {c} " if is_chinese(c) else c
    words = []
    for word in out.split():
        if lower:
            word = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(c) != "Mn")
        for c in word:
            apart = c in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" or unicodedata.category(c).startswith("P")
            if apart or not words or words[-1][1]:
                words.append((c, apart))
            else:
                words[-1] = (words[-1][0] + c, False)
        words.append(("", True))
    return [w for w, _ in words if w]


def longest_first(word, ids):
    pieces, i = [], 0
    while i < len(word):
        for j in range(len(word), i, -1):
            piece = ("##" if i else "") + word[i:j]
            if piece in ids:
                pieces.append(ids[piece])
                break
        else:
            return [ids["[UNK]"]]
        i = j
    return pieces if len(word) <= 100 else [ids["[UNK]"]]


def make_wordpiece(out):
    texts = TEXTS + ["Th\u00e9 M\u00cfLLER\u2019s d\u00f6nkey", "the\u00a0mill\u2014sang", "\u4e2d\u6587the\u4e00\u4e8c", "mi\u00adll \u200bwind\x00\ufffd",
                     "cafe\u0301 the\u0301", "mill" * 25, "mill" * 26, "\U0001f999 the", "[CLS] the [SEP]", "##mill mill##", "\u0130the", "a_b", "the$mill",
                     "\u3000the\u2028mill\u0085sang"]
    words = collections.Counter(w for w in bert_words(PARAGRAPH, False)) + collections.Counter(bert_words(PARAGRAPH, True))
    chars = sorted({c for w in words for c in w} | set("abcdefghijklmnopqrstuvwxyz0123456789$#[]_") | {"\u4e00", "\u4e2d"})
    inner = collections.Counter(w[i:j] for w in words for i in range(1, len(w)) for j in range(i + 2, len(w) + 1))
    pieces = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + chars + ["##" + c for c in chars if c.isalnum()]
    pieces += [w for w, n in sorted(words.items()) if n > 1 and len(w) > 1]
    pieces += ["##" + p for p, n in sorted(inner.items()) if n > 2]
    ids = {p: i for i, p in enumerate(pieces)}
    (out / "vocab.txt").write_text("\n".join(pieces) + "\n")
    token = lambda text: {"id": ids[text], "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True}
    special = lambda text: {"id": text, "ids": [ids[text]], "tokens": [text]}
    (out / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [token(t) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                       "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                                      {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
                           "pair": [], "special_tokens": {t: special(t) for t in ("[CLS]", "[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": ids}}, indent=0))
    rows = lambda lower: [[t, [i for w in bert_words(t, lower) for i in longest_first(w, ids)]] for t in texts]
    lines = ",\n".join(json.dumps({"text": t, "ids": found}) for t, found in rows(False))
    (out / "expected_cased.json").write_text("[\n" + lines + "\n]\n")
    return rows(True)


def main():
    for name, make in (("bpe", make_bpe), ("spm", make_spm), ("unigram", make_unigram), ("wordpiece", make_wordpiece)):
        out = OUT / name
        out.mkdir(parents=True, exist_ok=True)
        rows = make(out)
        lines = ",\n".join(json.dumps({"text": t, "ids": ids}) for t, ids in rows)
        (out / "expected.json").write_text("[\n" + lines + "\n]\n")
        print(name, sum(f.stat().st_size for f in out.iterdir()), "bytes")


if __name__ == "__main__":
    main()
