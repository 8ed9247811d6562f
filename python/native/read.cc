#include "read.h"

#include <pybind11/numpy.h>

namespace hunch::python {
namespace {

constexpr std::int64_t kMost32 = std::numeric_limits<std::int32_t>::max();

std::string found_words(py::handle found) {
  constexpr std::size_t kMostChars = 80;
  std::string shown = py::repr(found).cast<std::string>();
  if (py::isinstance<py::array>(found)) {
    const auto array = py::reinterpret_borrow<py::array>(found);
    shown = "an array of " + py::str(array.dtype()).cast<std::string>() + " of shape " +
            py::str(found.attr("shape")).cast<std::string>();
  } else if (shown.size() > kMostChars) {
    shown = py::str(py::repr(found)[py::slice(0, kMostChars, 1)]).cast<std::string>() + "...";
  }
  return shown + " (" + py::str(py::type::of(found).attr("__name__")).cast<std::string>() + ")";
}

std::string message(std::string_view name, std::string_view expected, py::handle found) {
  return std::string(name) + ": expected " + std::string(expected) + ", found " + found_words(found);
}

bool is_bool(py::handle value) { return PyBool_Check(value.ptr()) != 0; }

// Of numpy too.
bool is_truth(py::handle value) {
  return is_bool(value) || py::str(py::type::of(value).attr("__name__")).cast<std::string>().starts_with("bool");
}

bool is_number(py::handle value) {
  return !is_truth(value) &&
         (PyFloat_Check(value.ptr()) || PyIndex_Check(value.ptr()) ||
          (py::hasattr(value, "__float__") && py::hasattr(value, "dtype") && py::cast<int>(value.attr("ndim")) == 0));
}

std::vector<std::int32_t> ids_of_array(const py::array& array, std::string_view name) {
  const char kind = array.dtype().kind();
  if (array.ndim() != 1 || (kind != 'i' && kind != 'u' && array.size() > 0))
    fail_type(name, "a one-dimensional array of integers", array);
  const py::array_t<std::int64_t, py::array::forcecast> wide(array);
  const auto values = wide.unchecked<1>();
  std::vector<std::int32_t> ids;
  ids.reserve(std::size_t(values.size()));
  for (py::ssize_t i = 0; i < values.size(); ++i) {
    if (values(i) < 0 || values(i) > kMost32)
      fail_value(std::string(name) + "[" + std::to_string(i) + "]", "a token id, 0 or more", py::int_(values(i)));
    ids.push_back(std::int32_t(values(i)));
  }
  return ids;
}

void read_adapter(py::handle value, std::string_view name, LoraAdapter& to) {
  if (py::isinstance<LoraAdapter>(value)) {
    to = value.cast<const LoraAdapter&>();
  } else if (py::isinstance<py::tuple>(value) && py::len(value) == 2) {
    const auto pair = py::reinterpret_borrow<py::tuple>(value);
    read(pair[0], name, to.path);
    read(pair[1], name, to.scale);
  } else {
    read(value, name, to.path);
  }
}

}  // namespace

void fail_type(std::string_view name, std::string_view expected, py::handle found) {
  throw py::type_error(message(name, expected, found));
}

void fail_value(std::string_view name, std::string_view expected, py::handle found) {
  throw py::value_error(message(name, expected, found));
}

bool is_text(py::handle value) { return PyUnicode_Check(value.ptr()) != 0; }

std::string utf8_of(py::handle text) {
  py::ssize_t size = 0;
  const char* const bytes = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (!bytes) throw py::error_already_set();
  return {bytes, std::size_t(size)};
}

std::int64_t read_int(py::handle value, std::string_view name, std::int64_t least, std::int64_t most) {
  if (is_truth(value) || !PyIndex_Check(value.ptr())) fail_type(name, "a whole number", value);
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) {  // an array of several, say
    PyErr_Clear();
    fail_type(name, "a whole number", value);
  }
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0 || number < least || number > most)
    fail_value(name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most), value);
  return number;
}

std::vector<std::int32_t> read_ids(py::handle value, std::string_view name) {
  if (py::isinstance<py::array>(value)) return ids_of_array(py::reinterpret_borrow<py::array>(value), name);
  if (is_text(value) || !PySequence_Check(value.ptr())) fail_type(name, "token ids, a list or an array", value);
  std::vector<std::int32_t> ids;
  std::size_t i = 0;
  for (const py::object id : py::reinterpret_borrow<py::sequence>(value))
    ids.push_back(std::int32_t(read_int(id, std::string(name) + "[" + std::to_string(i++) + "]", 0, kMost32)));
  return ids;
}

void read(py::handle value, std::string_view name, bool& to) {
  if (!is_truth(value)) fail_type(name, "True or False", value);
  to = py::bool_(py::reinterpret_borrow<py::object>(value));
}

void read(py::handle value, std::string_view name, std::int32_t& to) {
  to = std::int32_t(read_int(value, name, std::numeric_limits<std::int32_t>::min(), kMost32));
}

void read(py::handle value, std::string_view name, double& to) {
  if (!is_number(value)) fail_type(name, "a number", value);
  to = PyFloat_AsDouble(value.ptr());
  if (to == -1 && PyErr_Occurred()) throw py::error_already_set();
}

void read(py::handle value, std::string_view name, float& to) {
  double number = 0;
  read(value, name, number);
  to = float(number);
}

void read(py::handle value, std::string_view name, std::string& to) {
  if (!is_text(value)) fail_type(name, "a text (str)", value);
  to = utf8_of(value);
}

void read(py::handle value, std::string_view name, std::filesystem::path& to) {
  if (!is_text(value) && !PyBytes_Check(value.ptr()) && !py::hasattr(value, "__fspath__"))
    fail_type(name, "a path (str or os.PathLike)", value);
  const std::string bytes = py::module_::import("os").attr("fsencode")(value).cast<py::bytes>();
  if (bytes.find('\0') != std::string::npos) fail_value(name, "a path without zero bytes", value);
  to = bytes;
}

void read(py::handle value, std::string_view name, std::vector<std::string>& to) {
  to.clear();
  if (is_text(value)) return read(value, name, to.emplace_back());
  if (!PySequence_Check(value.ptr()) || PyBytes_Check(value.ptr())) fail_type(name, "texts, a list of str", value);
  for (const py::object text : py::reinterpret_borrow<py::sequence>(value)) read(text, name, to.emplace_back());
}

void read(py::handle value, std::string_view name, std::map<std::int32_t, float>& to) {
  if (!py::isinstance<py::dict>(value)) fail_type(name, "a dict of token ids and numbers", value);
  to.clear();
  for (const auto& [id, number] : py::reinterpret_borrow<py::dict>(value))
    read(number, name, to[std::int32_t(read_int(id, name, 0, kMost32))]);
}

void read(py::handle value, std::string_view name, PlanChoice& to) {
  if (py::isinstance<PlanChoice>(value)) {
    to = value.cast<const PlanChoice&>();
  } else if (is_text(value)) {
    to = {};
    to.name = utf8_of(value);
  } else {
    fail_type(name, "\"dense\", \"exact\", \"sparse\" or a Plan", value);
  }
}

void read(py::handle value, std::string_view name, std::vector<LoraAdapter>& to) {
  if (is_text(value) || py::hasattr(value, "__fspath__") || !PySequence_Check(value.ptr()))
    fail_type(name, "a list of Adapters, paths, or pairs of a path and a scale", value);
  to.clear();
  for (const py::object one : py::reinterpret_borrow<py::sequence>(value)) read_adapter(one, name, to.emplace_back());
}

py::str text_of(std::string_view text) {
  return py::reinterpret_steal<py::str>(PyUnicode_DecodeUTF8(text.data(), py::ssize_t(text.size()), "replace"));
}

}  // namespace hunch::python
