// Python's values as C++ has them. What is no such value is a TypeError or ValueError that names the option, what was
// expected and what was found. All with Python's lock.
#pragma once
#include <hunch/model.h>
#include <pybind11/pybind11.h>

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hunch::python {

namespace py = pybind11;

// Raises TypeError: "n_tokens: expected a whole number, found 'ten' (str)".
[[noreturn]] void fail_type(std::string_view name, std::string_view expected, py::handle found);
[[noreturn]] void fail_value(std::string_view name, std::string_view expected, py::handle found);

// Whole numbers in [least, most]; no bool, no float.
std::int64_t read_int(py::handle value, std::string_view name, std::int64_t least, std::int64_t most);
// Token ids: a list, a tuple, a one-dimensional array of integers. Whether they are in the vocabulary is the model's to
// say; here they are numbers of 32 bits that are not negative.
std::vector<std::int32_t> read_ids(py::handle value, std::string_view name);
bool is_text(py::handle value);
// UTF-8 of a str; raises UnicodeEncodeError for what has none (lone surrogates).
std::string utf8_of(py::handle text);

void read(py::handle value, std::string_view name, bool& to);
void read(py::handle value, std::string_view name, std::int32_t& to);
void read(py::handle value, std::string_view name, double& to);
void read(py::handle value, std::string_view name, float& to);
void read(py::handle value, std::string_view name, std::string& to);
void read(py::handle value, std::string_view name, std::filesystem::path& to);     // str or os.PathLike
void read(py::handle value, std::string_view name, std::vector<std::string>& to);  // one text is a list of one
void read(py::handle value, std::string_view name, std::map<std::int32_t, float>& to);
void read(py::handle value, std::string_view name, PlanChoice& to);                // Plan, or its name
void read(py::handle value, std::string_view name, std::vector<LoraAdapter>& to);  // Adapters, paths, (path, scale)

template <std::unsigned_integral T>
void read(py::handle value, std::string_view name, T& to) {
  to = T(read_int(value, name, 0, std::numeric_limits<std::int64_t>::max()));
}
// None: not said.
template <class T>
void read(py::handle value, std::string_view name, std::optional<T>& to) {
  if (value.is_none()) return to.reset();
  read(value, name, to.emplace());
}

// Text of a model as Python's, which may be cut within a character.
py::str text_of(std::string_view text);

}  // namespace hunch::python
