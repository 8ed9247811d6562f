// Recall tasks in plain English.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "measure/recall_writer.h"

namespace hunch {
namespace {

constexpr const char* kWho[] = {"The miller",  "A farmer", "The old king", "Her brother", "The cat",   "A small bird",
                                "The teacher", "My aunt",  "The baker",    "A sailor",    "The queen", "The boy"};
constexpr const char* kDoes[] = {"walks to",  "looks at", "thinks of", "sings about", "runs from",   "comes back to",
                                 "dreams of", "paints",   "sits near", "waits by",    "talks about", "sleeps beside"};
constexpr const char* kWhat[] = {"the river",     "a green hill",    "the old house", "his garden",
                                 "the long road", "the dark forest", "a red door",    "the market",
                                 "the sea",       "a tall tree",     "the church",    "the bridge"};
constexpr const char* kWhen[] = {"in the morning", "at night",  "before the rain", "every day",
                                 "after dinner",   "in winter", "with a friend",   "without a word"};
constexpr const char* kNames[] = {"apple",   "river",   "stone",  "candle",  "ladder",  "button", "garden", "window",
                                  "basket",  "hammer",  "pillow", "bottle",  "saddle",  "mirror", "wagon",  "kettle",
                                  "feather", "lantern", "anchor", "barrel",  "blanket", "bucket", "carpet", "castle",
                                  "chimney", "copper",  "cotton", "curtain", "engine",  "fiddle", "finger", "forest",
                                  "hollow",  "island",  "jacket", "kitchen", "lemon",   "letter", "market", "marble"};
constexpr const char* kRepeated =
    " The mill stands by the river, and the wheel turns all day. The miller sleeps, and nobody asks for flour.";

class EnglishWriter : public RecallWriter {
 public:
  explicit EnglishWriter(const Tokenizer& tokenizer) : tokenizer_(tokenizer), repeated_(encode(kRepeated)) {
    const TokenizerSpec& spec = tokenizer.spec();
    if (spec.add_bos && spec.bos) opening_ = {*spec.bos};
    const std::vector<int32_t> words =
        encode(" Somewhere in this text is something that will be asked for at its end.");
    opening_.insert(opening_.end(), words.begin(), words.end());
  }

  void begin(RecallRandom&) override { taken_.clear(); }
  std::vector<int32_t> opening() const override { return opening_; }
  std::vector<int32_t> sentence(RecallRandom& random) override {
    return encode(fmt::format(" {} {} {} {}.", kWho[random.below(std::size(kWho))],
                              kDoes[random.below(std::size(kDoes))], kWhat[random.below(std::size(kWhat))],
                              kWhen[random.below(std::size(kWhen))]));
  }
  std::vector<int32_t> repeated_sentence() override { return repeated_; }
  Item name(RecallRandom& random) override {
    if (taken_.size() >= std::size(kNames))
      fail(ErrorKind::kUsage, "there are names for {} numbers (keys), and no more", std::size(kNames));
    return item([&] { return kNames[random.below(std::size(kNames))]; });
  }
  Item number(RecallRandom& random) override {
    return item([&] { return fmt::format("{}", 10000 + random.below(90000)); });
  }

  std::vector<int32_t> pass_key(const Item& number) const override {
    return encode(fmt::format(" The pass key is {0}. Do not forget it: the pass key is {0}.", number.text));
  }
  std::vector<int32_t> ask_pass_key() const override { return encode(" What is the pass key? The pass key is"); }
  std::vector<int32_t> named_number(const Item& name, const Item& number) const override {
    return encode(fmt::format(" The secret number of the {} is {}.", name.text, number.text));
  }
  std::vector<int32_t> ask_named_number(const Item& name) const override {
    return encode(fmt::format(" What is the secret number of the {0}? The secret number of the {0} is", name.text));
  }
  std::vector<int32_t> assign(const Item& variable, const Item& value) const override {
    return encode(fmt::format(" Let {} = {}.", variable.text, value.text));
  }
  std::vector<int32_t> ask_variables(const Item& value) const override {
    return encode(
        fmt::format(" Which variables are {0}, in the order in which they got it? Those that are {0} are", value.text));
  }
  std::vector<int32_t> ask_frequent() const override {
    return encode(". Which three words stand there most often, the most frequent first? They are");
  }
  std::vector<int32_t> answer(const Item& item) const override { return encode(" " + item.text); }
  std::vector<int32_t> answer_list(std::span<const Item> items) const override {
    std::vector<int32_t> ids;
    for (const Item& item : items) {
      const std::vector<int32_t> own = encode(" " + item.text);
      ids.insert(ids.end(), own.begin(), own.end());
    }
    return ids;
  }

 private:
  // Every piece by itself, as if it stood behind a space.
  std::vector<int32_t> encode(std::string_view text) const {
    if (tokenizer_.spec().add_space_prefix && text.starts_with(' ')) text.remove_prefix(1);
    return tokenizer_.encode(text, {false, false});
  }
  template <class Draw>
  Item item(const Draw& draw) {
    std::string text;
    do text = draw();
    while (!taken_.insert(text).second);
    return {encode(" " + text), text};
  }

  const Tokenizer& tokenizer_;
  std::vector<int32_t> repeated_, opening_;
  std::set<std::string> taken_;
};

}  // namespace

bool speaks_english(const Tokenizer& tokenizer) {
  const std::string_view text(kRepeated);
  const auto n_words = size_t(std::ranges::count(text, ' '));
  return tokenizer.encode(text, {false, false}).size() <= 2 * n_words;
}

std::unique_ptr<RecallWriter> english_writer(const Tokenizer& tokenizer) {
  return std::make_unique<EnglishWriter>(tokenizer);
}

}  // namespace hunch
