// What texts of recall tasks are made of: in English, or in tokens that mean nothing.
#pragma once
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace hunch {

// The same numbers on every machine, as std's distributions are not.
class RecallRandom {
 public:
  explicit RecallRandom(uint64_t seed) : generator_(seed) {}
  size_t below(size_t n) { return size_t(generator_() % n); }
  double uniform() { return double(generator_() >> 11) * 0x1p-53; }

 private:
  std::mt19937_64 generator_;
};

class RecallWriter {
 public:
  // A name or a number: its tokens in a text, and its letters where there are any.
  struct Item {
    std::vector<int32_t> ids;
    std::string text;
  };

  virtual ~RecallWriter() = default;
  // A new text begins: names and numbers of those before may come again.
  virtual void begin(RecallRandom& random) = 0;
  // What stands before everything.
  virtual std::vector<int32_t> opening() const = 0;
  // Filler: one of countless sentences, and the one that is repeated in this text.
  virtual std::vector<int32_t> sentence(RecallRandom& random) = 0;
  virtual std::vector<int32_t> repeated_sentence() = 0;
  // None comes twice in a text.
  virtual Item name(RecallRandom& random) = 0;
  virtual Item number(RecallRandom& random) = 0;

  virtual std::vector<int32_t> pass_key(const Item& number) const = 0;
  virtual std::vector<int32_t> ask_pass_key() const = 0;
  virtual std::vector<int32_t> named_number(const Item& name, const Item& number) const = 0;
  virtual std::vector<int32_t> ask_named_number(const Item& name) const = 0;
  virtual std::vector<int32_t> assign(const Item& variable, const Item& value) const = 0;
  virtual std::vector<int32_t> ask_variables(const Item& value) const = 0;
  virtual std::vector<int32_t> ask_frequent() const = 0;
  virtual std::vector<int32_t> answer(const Item& item) const = 0;
  virtual std::vector<int32_t> answer_list(std::span<const Item> items) const = 0;
};

// Whether its words are at most two tokens on average.
bool speaks_english(const Tokenizer& tokenizer);

// The tokenizer outlives them.
std::unique_ptr<RecallWriter> english_writer(const Tokenizer& tokenizer);
// Draws who plays which part. Throws Error{kUsage} for fewer than 64 tokens that can be drawn.
std::unique_ptr<RecallWriter> token_writer(const Tokenizer& tokenizer, RecallRandom& random);

}  // namespace hunch
