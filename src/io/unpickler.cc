#include "io/unpickler.h"

#include <array>
#include <limits>
#include <unordered_map>

#include "io/printable.h"

namespace hunch {
namespace {

using Kind = PickleNode::Kind;

// Far above any real checkpoint (10 nodes per tensor); they bound the memory a small file can take.
constexpr size_t kMaxNodes = size_t{1} << 22;
constexpr size_t kMaxStack = size_t{1} << 20;
constexpr size_t kMaxMemo = size_t{1} << 22;
constexpr size_t kMaxTupleItems = 8;

constexpr std::string_view kOrderedDict = "collections OrderedDict";
constexpr std::string_view kRebuildTensor = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils _rebuild_parameter";
constexpr std::string_view kSize = "torch Size";

constexpr std::pair<std::string_view, DType> kStorageTypes[] = {
    {"torch FloatStorage", DType::kF32},  {"torch HalfStorage", DType::kF16}, {"torch BFloat16Storage", DType::kBF16},
    {"torch DoubleStorage", DType::kF64}, {"torch LongStorage", DType::kI64}, {"torch IntStorage", DType::kI32},
    {"torch ShortStorage", DType::kI16},  {"torch CharStorage", DType::kI8},  {"torch ByteStorage", DType::kI8},
    {"torch BoolStorage", DType::kI8},
};

// Names of the opcodes that are refused, for the message.
const char* refused_opcode_name(uint8_t op) {
  switch (op) {
    case 'F': return "FLOAT";
    case 'I': return "INT";
    case 'L': return "LONG";
    case 'P': return "PERSID";
    case 'S': return "STRING";
    case 'V': return "UNICODE";
    case 'g': return "GET";
    case 'p': return "PUT";
    case 'i': return "INST";
    case 'o': return "OBJ";
    case '2': return "DUP";
    case 0x81: return "NEWOBJ";
    case 0x82: return "EXT1";
    case 0x83: return "EXT2";
    case 0x84: return "EXT4";
    case 0x8c: return "SHORT_BINUNICODE";
    case 0x93: return "STACK_GLOBAL";
    case 0x95: return "FRAME";
    default: return "unknown";
  }
}

class Unpickler {
 public:
  explicit Unpickler(ByteReader& in) : in_(in) {}

  Pickle run() {
    while (!step()) {
    }
    return std::move(pickle_);
  }

 private:
  [[noreturn]] void damaged(const char* what) const {
    fail(ErrorKind::kFormat, "the pickle is damaged at offset {}: {}", in_.position(), what);
  }

  void push(PickleRef ref) {
    if (stack_.size() >= kMaxStack)
      fail(ErrorKind::kLimit, "the pickle needs a stack of more than {} values", kMaxStack);
    stack_.push_back(ref);
  }
  void push(PickleNode node) {
    if (pickle_.nodes.size() >= kMaxNodes) fail(ErrorKind::kLimit, "the pickle has more than {} values", kMaxNodes);
    pickle_.nodes.push_back(std::move(node));
    push(PickleRef(pickle_.nodes.size() - 1));
  }
  void push_number(Kind kind, int64_t number) { push(PickleNode{kind, number, {}, {}}); }
  void push_text(std::string_view text) { push(PickleNode{Kind::kText, 0, text, {}}); }

  // Values above the innermost mark belong to the construct it opened and cannot be taken singly.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleRef top() const {
    if (stack_.size() <= floor()) damaged("an operand is missing from the stack");
    return stack_.back();
  }
  PickleRef pop() {
    const PickleRef ref = top();
    stack_.pop_back();
    return ref;
  }
  std::vector<PickleRef> pop_to_mark() {
    if (marks_.empty()) damaged("a mark is missing from the stack");
    const size_t begin = marks_.back();
    marks_.pop_back();
    std::vector<PickleRef> items(stack_.begin() + begin, stack_.end());
    stack_.resize(begin);
    return items;
  }
  PickleNode& node(PickleRef ref) { return pickle_.nodes[ref]; }
  const PickleNode& expect(PickleRef ref, Kind kind, const char* what) {
    if (node(ref).kind != kind) damaged(what);
    return node(ref);
  }
  uint64_t expect_count(PickleRef ref, const char* what) {
    const int64_t number = expect(ref, Kind::kInt, what).number;
    if (number < 0) damaged(what);
    return uint64_t(number);
  }

  // A copy of a tuple's elements; only of a short one, so that a call costs no more than its bytes.
  std::vector<PickleRef> elements_of(PickleRef ref, const char* what) {
    constexpr size_t kMaxElements = 16;
    const PickleNode& tuple = expect(ref, Kind::kTuple, what);
    if (tuple.items.size() > kMaxElements) damaged(what);
    return tuple.items;
  }

  void memo_put(uint32_t slot) {
    memo_[slot] = top();
    if (memo_.size() > kMaxMemo) fail(ErrorKind::kLimit, "the pickle's memo has more than {} entries", kMaxMemo);
  }
  void memo_get(uint32_t slot) {
    const auto it = memo_.find(slot);
    if (it == memo_.end()) damaged("it refers to a memo entry that was never made");
    push(it->second);
  }

  void push_tuple(size_t n) {
    std::vector<PickleRef> items(n);
    for (size_t i = n; i-- > 0;) items[i] = pop();
    push(PickleNode{Kind::kTuple, 0, {}, std::move(items)});
  }
  void append(std::vector<PickleRef> items, Kind kind) {
    PickleNode& target = node(top());
    if (target.kind != kind)
      damaged(kind == Kind::kList ? "it appends to what is no list" : "it fills what is no dictionary");
    if (kind == Kind::kDict && items.size() % 2 != 0) damaged("a dictionary key has no value");
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  void read_long(uint64_t n_bytes) {
    const auto bytes = in_.take(n_bytes, "an integer");
    if (bytes.size() > 8) fail(ErrorKind::kUnsupported, "the pickle holds an integer of {} bytes", bytes.size());
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.size(); ++i) value |= uint64_t(bytes[i]) << (8 * i);
    if (!bytes.empty() && bytes.size() < 8 && uint8_t(bytes.back()) >= 0x80)
      value |= ~uint64_t{0} << (8 * bytes.size());
    push_number(Kind::kInt, int64_t(value));
  }

  std::string_view read_line() {
    constexpr size_t kMaxLine = 256;
    const ByteReader start = in_;
    size_t n = 0;
    while (in_.read<char>("a class name") != '\n')
      if (++n > kMaxLine) damaged("a class name is longer than 256 bytes");
    ByteReader again = start;
    return again.take_text(n, "a class name");
  }

  void read_global();
  void reduce();
  void build();
  void rebuild_tensor(const std::vector<PickleRef>& args);
  void load_persistent();
  std::vector<uint64_t> counts_of(PickleRef ref, const char* what);
  bool step();

  ByteReader& in_;
  Pickle pickle_;
  std::vector<PickleRef> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, PickleRef> memo_;
};

void Unpickler::read_global() {
  const std::string_view module = read_line(), name = read_line();
  const std::string full = std::string(module) + ' ' + std::string(name);
  for (std::string_view known : {kOrderedDict, kRebuildTensor, kRebuildParameter, kSize})
    if (full == known) return push(PickleNode{Kind::kGlobal, 0, known, {}});
  for (const auto& [known, dtype] : kStorageTypes)
    if (full == known) return push(PickleNode{Kind::kGlobal, 0, known, {}});
  fail(ErrorKind::kUnsupported,
       "the checkpoint refers to '{}.{}', which is not one of the classes that a state dict is made of; refused, and "
       "nothing was executed",
       printable(module), printable(name));
}

std::vector<uint64_t> Unpickler::counts_of(PickleRef ref, const char* what) {
  const PickleNode& tuple = node(ref);
  if (tuple.kind != Kind::kTuple || tuple.items.size() > kMaxTupleItems) damaged(what);
  std::vector<uint64_t> counts;
  for (PickleRef item : tuple.items) counts.push_back(expect_count(item, what));
  return counts;
}

// _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks[, metadata])
void Unpickler::rebuild_tensor(const std::vector<PickleRef>& args) {
  if (args.size() < 4) damaged("a tensor has fewer than four arguments");
  PickledTensor tensor;
  tensor.storage = uint32_t(expect(args[0], Kind::kStorage, "a tensor's first argument is no storage").number);
  tensor.offset = expect_count(args[1], "a tensor's offset is no count");
  tensor.shape = counts_of(args[2], "a tensor's shape is not a tuple of at most 8 counts");
  tensor.strides = counts_of(args[3], "a tensor's strides are not a tuple of at most 8 counts");
  if (tensor.shape.size() != tensor.strides.size()) damaged("a tensor has not as many strides as dimensions");
  pickle_.tensors.push_back(std::move(tensor));
  push_number(Kind::kTensor, int64_t(pickle_.tensors.size() - 1));
}

void Unpickler::reduce() {
  const PickleRef args_ref = pop(), callable_ref = pop();
  const std::string_view callable = expect(callable_ref, Kind::kGlobal, "it calls what is no class").text;
  const std::vector<PickleRef> args = elements_of(args_ref, "a call's arguments are no short tuple");
  if (callable == kOrderedDict) {
    if (!args.empty()) fail(ErrorKind::kUnsupported, "the pickle builds an OrderedDict from arguments; expected none");
    push(PickleNode{Kind::kDict, 0, {}, {}});
  } else if (callable == kRebuildTensor) {
    rebuild_tensor(args);
  } else if (callable == kRebuildParameter) {
    if (args.empty()) damaged("a parameter has no tensor");
    expect(args[0], Kind::kTensor, "a parameter's first argument is no tensor");
    push(args[0]);
  } else if (callable == kSize) {
    if (args.size() != 1) damaged("a torch.Size has not one argument");
    expect(args[0], Kind::kTuple, "a torch.Size is not made from a tuple");
    push(args[0]);
  } else {
    fail(ErrorKind::kUnsupported, "the pickle calls '{}'; refused", callable);
  }
}

// The state of an OrderedDict (torch keeps its `_metadata` there) says nothing about tensors.
void Unpickler::build() {
  pop();
  expect(top(), Kind::kDict, "it sets the state of what is no dictionary");
}

// ('storage', type, key, location, n_elems[, view]) where view is None or (key, begin, n_elems).
void Unpickler::load_persistent() {
  const std::vector<PickleRef> id = elements_of(pop(), "a persistent id is no short tuple");
  if (id.size() < 5) damaged("a persistent id has fewer than five parts");
  if (expect(id[0], Kind::kText, "a persistent id does not begin with a text").text != "storage")
    damaged("a persistent id is no storage");
  const std::string_view type = expect(id[1], Kind::kGlobal, "a storage's type is no class").text;
  PickledStorage storage;
  bool known = false;
  for (const auto& [name, dtype] : kStorageTypes) {
    if (name != type) continue;
    storage.dtype = dtype;
    known = true;
  }
  if (!known) damaged("a storage's type is no storage class");
  storage.key = expect(id[2], Kind::kText, "a storage's key is no text").text;
  storage.n_elems = storage.view_elems = expect_count(id[4], "a storage's size is no count");
  if (id.size() > 5 && node(id[5]).kind != Kind::kNone) {
    const std::vector<PickleRef> view = elements_of(id[5], "a storage's view is no short tuple");
    if (view.size() != 3) damaged("a storage's view has not three parts");
    storage.view_begin = expect_count(view[1], "a storage view's begin is no count");
    storage.view_elems = expect_count(view[2], "a storage view's size is no count");
    if (storage.view_begin > storage.n_elems || storage.view_elems > storage.n_elems - storage.view_begin)
      damaged("a storage's view reaches past its end");
  }
  pickle_.storages.push_back(storage);
  push_number(Kind::kStorage, int64_t(pickle_.storages.size() - 1));
}

// Executes one opcode; true when it was STOP.
bool Unpickler::step() {
  const uint8_t op = in_.read<uint8_t>("an opcode");
  switch (op) {
    case 0x80:  // PROTO
      if (const uint8_t protocol = in_.read<uint8_t>("the protocol"); protocol > 2)
        fail(ErrorKind::kUnsupported, "the checkpoint is pickled with protocol {}; expected 2, torch.save's default",
             protocol);
      break;
    case '.': pickle_.root = pop(); return true;
    case '(':
      if (marks_.size() >= kMaxStack) fail(ErrorKind::kLimit, "the pickle has more than {} open marks", kMaxStack);
      marks_.push_back(stack_.size());
      break;
    case '0': pop(); break;
    case '1': pop_to_mark(); break;
    case 'N': push_number(Kind::kNone, 0); break;
    case 0x88: push_number(Kind::kBool, 1); break;
    case 0x89: push_number(Kind::kBool, 0); break;
    case 'K': push_number(Kind::kInt, in_.read<uint8_t>("an integer")); break;
    case 'M': push_number(Kind::kInt, in_.read<uint16_t>("an integer")); break;
    case 'J': push_number(Kind::kInt, in_.read<int32_t>("an integer")); break;
    case 0x8a: read_long(in_.read<uint8_t>("an integer's length")); break;
    case 0x8b: read_long(in_.read<uint32_t>("an integer's length")); break;
    case 'G':
      in_.take(8, "a float");  // big-endian; no float in a state dict matters
      push_number(Kind::kFloat, 0);
      break;
    case 'X': push_text(in_.take_text(in_.read<uint32_t>("a text's length"), "a text")); break;
    case 'T': push_text(in_.take_text(in_.read<uint32_t>("a text's length"), "a text")); break;
    case 'U': push_text(in_.take_text(in_.read<uint8_t>("a text's length"), "a text")); break;
    case ')': push(PickleNode{Kind::kTuple, 0, {}, {}}); break;
    case ']': push(PickleNode{Kind::kList, 0, {}, {}}); break;
    case '}': push(PickleNode{Kind::kDict, 0, {}, {}}); break;
    case 0x85: push_tuple(1); break;
    case 0x86: push_tuple(2); break;
    case 0x87: push_tuple(3); break;
    case 't': push(PickleNode{Kind::kTuple, 0, {}, pop_to_mark()}); break;
    case 'l': push(PickleNode{Kind::kList, 0, {}, pop_to_mark()}); break;
    case 'd': {
      std::vector<PickleRef> items = pop_to_mark();
      push(PickleNode{Kind::kDict, 0, {}, {}});
      append(std::move(items), Kind::kDict);
      break;
    }
    case 'a': {
      const PickleRef item = pop();
      append({item}, Kind::kList);
      break;
    }
    case 'e': append(pop_to_mark(), Kind::kList); break;
    case 's': {
      const PickleRef value = pop(), key = pop();
      append({key, value}, Kind::kDict);
      break;
    }
    case 'u': append(pop_to_mark(), Kind::kDict); break;
    case 'q': memo_put(in_.read<uint8_t>("a memo slot")); break;
    case 'r': memo_put(in_.read<uint32_t>("a memo slot")); break;
    case 'h': memo_get(in_.read<uint8_t>("a memo slot")); break;
    case 'j': memo_get(in_.read<uint32_t>("a memo slot")); break;
    case 'c': read_global(); break;
    case 'R': reduce(); break;
    case 'b': build(); break;
    case 'Q': load_persistent(); break;
    default:
      fail(ErrorKind::kUnsupported,
           "the pickle uses opcode 0x{:02x} ({}), which no torch state dict needs; refused, and nothing was executed",
           op, refused_opcode_name(op));
  }
  return false;
}

}  // namespace

const PickleNode* Pickle::lookup(const PickleNode& dict, std::string_view key) const {
  for (size_t i = dict.items.size(); i >= 2; i -= 2) {
    const PickleNode& found = nodes[dict.items[i - 2]];
    if (found.kind == Kind::kText && found.text == key) return &nodes[dict.items[i - 1]];
  }
  return nullptr;
}

Pickle unpickle(ByteReader& in) { return Unpickler(in).run(); }

}  // namespace hunch
