// Recall tasks in tokens that mean nothing: every word of a question is one token that stands nowhere else.
#include <algorithm>

#include "base/error.h"
#include "measure/recall_writer.h"

namespace hunch {
namespace {

constexpr size_t kNumberTokens = 4, kSentenceTokens = 16, kLeast = 64, kMostFiller = 256;
constexpr size_t kWords = 5;  // that questions are made of

// Tokens that may stand anywhere: whole words of letters where there are enough, else whatever is neither control token
// nor byte.
std::vector<int32_t> drawable(const Tokenizer& tokenizer) {
  std::vector<int32_t> words, others;
  for (size_t id = 0; id < tokenizer.n_vocab(); ++id) {
    if (tokenizer.spec().types[id] != TokenType::kNormal || tokenizer.is_end_of_generation(int32_t(id))) continue;
    const std::string_view piece = tokenizer.piece(int32_t(id));
    if (piece.empty()) continue;
    others.push_back(int32_t(id));
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    if (piece.size() > 2 && piece[0] == ' ' && std::ranges::all_of(piece.substr(1), is_letter))
      words.push_back(int32_t(id));
  }
  std::vector<int32_t>& all = words.size() >= 4 * kLeast ? words : others;
  if (all.size() < kLeast)
    fail(ErrorKind::kUsage, "the vocabulary has {} tokens that a text can be made of, expected at least {}", all.size(),
         kLeast);
  return all;
}

class TokenWriter : public RecallWriter {
 public:
  TokenWriter(const Tokenizer& tokenizer, RecallRandom& random) : ids_(drawable(tokenizer)) {
    const TokenizerSpec& spec = tokenizer.spec();
    if (spec.add_bos && spec.bos) opening_ = {*spec.bos};
    shuffle(ids_, random);
    n_filler_ = std::min(kMostFiller, ids_.size() / 2);
  }

  void begin(RecallRandom& random) override {
    next_ = n_filler_ + kWords;
    // Who plays which part is drawn anew, so that texts are samples of more than their order.
    shuffle(ids_, random);
    sentence_ = sentence(random);
  }

  std::vector<int32_t> opening() const override { return opening_; }
  std::vector<int32_t> sentence(RecallRandom& random) override {
    std::vector<int32_t> ids;
    while (ids.size() < kSentenceTokens) {
      const int32_t id = ids_[random.below(n_filler_)];
      if (ids.empty() || ids.back() != id) ids.push_back(id);
    }
    return ids;
  }
  std::vector<int32_t> repeated_sentence() override { return sentence_; }
  Item name(RecallRandom&) override { return {{take()}, {}}; }
  Item number(RecallRandom&) override {
    Item item;
    for (size_t i = 0; i < kNumberTokens; ++i) item.ids.push_back(take());
    return item;
  }

  std::vector<int32_t> pass_key(const Item& number) const override {
    std::vector<int32_t> ids = {word(0)};
    append(ids, number.ids);
    ids.push_back(word(1));
    ids.push_back(word(0));
    append(ids, number.ids);
    ids.push_back(word(1));
    return ids;
  }
  std::vector<int32_t> ask_pass_key() const override { return {word(2), word(0)}; }
  std::vector<int32_t> named_number(const Item& name, const Item& number) const override {
    std::vector<int32_t> ids = name.ids;
    append(ids, number.ids);
    ids.push_back(word(1));
    return ids;
  }
  std::vector<int32_t> ask_named_number(const Item& name) const override {
    std::vector<int32_t> ids = {word(2)};
    append(ids, name.ids);
    return ids;
  }
  std::vector<int32_t> assign(const Item& variable, const Item& value) const override {
    std::vector<int32_t> ids = {word(3)};
    append(ids, variable.ids);
    append(ids, value.ids);
    ids.push_back(word(1));
    return ids;
  }
  std::vector<int32_t> ask_variables(const Item& value) const override {
    std::vector<int32_t> ids = {word(2)};
    append(ids, value.ids);
    return ids;
  }
  std::vector<int32_t> ask_frequent() const override { return {word(2), word(4)}; }
  std::vector<int32_t> answer(const Item& item) const override { return item.ids; }
  std::vector<int32_t> answer_list(std::span<const Item> items) const override {
    std::vector<int32_t> ids;
    for (const Item& item : items) append(ids, item.ids);
    return ids;
  }

 private:
  static void append(std::vector<int32_t>& ids, const std::vector<int32_t>& more) {
    ids.insert(ids.end(), more.begin(), more.end());
  }
  static void shuffle(std::vector<int32_t>& ids, RecallRandom& random) {
    for (size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[random.below(i)]);
  }
  int32_t word(size_t i) const { return ids_[n_filler_ + i]; }
  int32_t take() {
    if (next_ == ids_.size())
      fail(ErrorKind::kUsage,
           "the vocabulary has {} tokens that a text can be made of: too few for so many names (keys)", ids_.size());
    return ids_[next_++];
  }

  std::vector<int32_t> ids_, opening_, sentence_;  // filler, the words of questions, names and numbers
  size_t n_filler_ = 0, next_ = 0;
};

}  // namespace

std::unique_ptr<RecallWriter> token_writer(const Tokenizer& tokenizer, RecallRandom& random) {
  return std::make_unique<TokenWriter>(tokenizer, random);
}

}  // namespace hunch
