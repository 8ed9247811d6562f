#include "measure/csv.h"

#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    for (const hunch::CsvRecord& record : hunch::parse_csv({reinterpret_cast<const char*>(data), size}, "fuzz"))
      HUNCH_CHECK(!record.fields.empty() && record.line > 0);
  } catch (const hunch::Error&) {
  }
  return 0;
}
