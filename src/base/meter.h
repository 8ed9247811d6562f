// A count of the bytes that products and attention read from memory: speed is bytes.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace hunch {

enum class Traffic : uint8_t {
  kWeights,     // of the model
  kPredictors,  // of what chooses what to read of the model
  kKv,          // cached keys and values
};

struct Bytes {
  std::array<uint64_t, 3> read{};
  uint64_t operator[](Traffic what) const { return read[size_t(what)]; }
  // All but the cache.
  uint64_t weights() const { return (*this)[Traffic::kWeights] + (*this)[Traffic::kPredictors]; }
  Bytes operator-(const Bytes& since) const {
    Bytes out;
    for (size_t i = 0; i < read.size(); ++i) out.read[i] = read[i] - since.read[i];
    return out;
  }
};

// Products of several tokens that wanted rows of their own: by the way they were read (linear/chosen_rows.h), and of
// each the rows that any token wanted, of all rows.
struct RowReads {
  std::array<uint64_t, 3> products{};
  uint64_t union_rows = 0, union_of = 0;

  RowReads& combine(const RowReads& other, int sign) {
    for (size_t i = 0; i < products.size(); ++i) products[i] += uint64_t(sign) * other.products[i];
    union_rows += uint64_t(sign) * other.union_rows;
    union_of += uint64_t(sign) * other.union_of;
    return *this;
  }
  RowReads& operator+=(const RowReads& other) { return combine(other, 1); }
  RowReads operator-(const RowReads& before) const { return RowReads(*this).combine(before, -1); }
};

// Kernels count what they read, where they read it, on the thread that called them; whoever wants to know takes the
// difference of two bytes(). A matrix that several tokens of a call share counts once.
class Meter {
 public:
  void read_weights(uint64_t bytes) { bytes_.read[size_t(weights_are_)] += bytes; }
  void read_kv(uint64_t bytes) { bytes_.read[size_t(Traffic::kKv)] += bytes; }
  void note_rows(size_t path, uint64_t n_union, uint64_t n_total) {
    ++rows_.products[path];
    rows_.union_rows += n_union;
    rows_.union_of += n_total;
  }
  const Bytes& bytes() const { return bytes_; }
  const RowReads& rows() const { return rows_; }

  // Until its end, matrices that are read are a predictor's.
  class Predicting {
   public:
    explicit Predicting(Meter& meter) : meter_(meter), before_(meter.weights_are_) {
      meter.weights_are_ = Traffic::kPredictors;
    }
    ~Predicting() { meter_.weights_are_ = before_; }
    Predicting(const Predicting&) = delete;
    Predicting& operator=(const Predicting&) = delete;

   private:
    Meter& meter_;
    Traffic before_;
  };

 private:
  Bytes bytes_;
  RowReads rows_;
  Traffic weights_are_ = Traffic::kWeights;
};

}  // namespace hunch
