#include "measure/csv.h"

#include "base/error.h"

namespace hunch {
namespace {

class CsvReader {
 public:
  CsvReader(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  std::vector<CsvRecord> all() {
    std::vector<CsvRecord> records;
    while (at_ < text_.size()) {
      CsvRecord record = next();
      if (record.fields.size() > 1 || !record.fields[0].empty()) records.push_back(std::move(record));
    }
    return records;
  }

 private:
  CsvRecord next() {
    CsvRecord record{{}, line_};
    do record.fields.push_back(field());
    while (take(','));
    take('\r');
    if (take('\n')) ++line_;
    return record;
  }

  std::string field() {
    std::string out;
    if (take('"')) {
      const size_t begin = line_;
      for (;; ++at_) {
        if (at_ == text_.size())
          fail(ErrorKind::kFormat, "'{}' line {}: a field begins with a quote, and no quote ends it", name_, begin);
        if (text_[at_] == '"') {
          ++at_;
          if (at_ == text_.size() || text_[at_] != '"') break;
        }
        line_ += text_[at_] == '\n';
        out += text_[at_];
      }
    }
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n' && !is_line_end(at_)) out += text_[at_++];
    return out;
  }

  bool is_line_end(size_t i) const { return text_[i] == '\r' && (i + 1 == text_.size() || text_[i + 1] == '\n'); }
  bool take(char c) {
    const bool is_next = at_ < text_.size() && text_[at_] == c;
    at_ += is_next;
    return is_next;
  }

  std::string_view text_, name_;
  size_t at_ = 0, line_ = 1;
};

}  // namespace

std::vector<CsvRecord> parse_csv(std::string_view text, std::string_view name) { return CsvReader(text, name).all(); }

}  // namespace hunch
