#include "io/torch_checkpoint.h"

#include <cstring>
#include <map>
#include <set>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "io/printable.h"
#include "io/unpickler.h"
#include "io/zip_archive.h"

namespace hunch {
namespace {

using Kind = PickleNode::Kind;

// The pickle of 0x1950a86a20f9469cfc6c, with which files of torch < 1.6 begin.
constexpr std::string_view kLegacyMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
constexpr int64_t kLegacyProtocol = 1001;

// Storage key -> its bytes, as many as PickledStorage::n_elems needs.
using Storages = std::map<std::string_view, std::span<const std::byte>>;

uint64_t elem_bytes(DType dtype) { return info(dtype).block_bytes; }

// ---- which values of the pickle are the model's tensors

// The state dict: the pickle's value itself, or what training scripts wrap around it.
const PickleNode& find_state_dict(const Pickle& pickle) {
  constexpr int kMaxWrappings = 4;
  const PickleNode* dict = &pickle.nodes[pickle.root];
  if (dict->kind != Kind::kDict)
    fail(ErrorKind::kUnsupported,
         "the checkpoint's value is no dictionary; expected a state dict, as torch.save writes one");
  for (int depth = 0; depth < kMaxWrappings; ++depth) {
    const PickleNode* inner = nullptr;
    for (const char* key : {"state_dict", "model"}) {
      const PickleNode* found = pickle.lookup(*dict, key);
      if (!inner && found && found->kind == Kind::kDict) inner = found;
    }
    if (!inner) return *dict;
    dict = inner;
  }
  fail(ErrorKind::kFormat, "the checkpoint's state dict is wrapped more than {} times, or in itself", kMaxWrappings);
}

struct NamedTensor {
  std::string_view name;
  const PickledTensor* tensor;
};

std::vector<NamedTensor> list_tensors(const Pickle& pickle) {
  const PickleNode& dict = find_state_dict(pickle);
  std::vector<NamedTensor> named;
  std::set<std::string_view> names;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleNode &key = pickle.nodes[dict.items[i]], &value = pickle.nodes[dict.items[i + 1]];
    if (key.kind != Kind::kText || value.kind != Kind::kTensor) continue;
    if (!names.insert(key.text).second)
      fail(ErrorKind::kFormat, "the checkpoint holds two tensors '{}'", printable(key.text));
    named.push_back({key.text, &pickle.tensors[size_t(value.number)]});
  }
  if (named.empty())
    fail(ErrorKind::kUnsupported,
         "the checkpoint holds no tensors in its top dictionary, nor under 'state_dict' or 'model'");
  return named;
}

// ---- from pickled tensors to contiguous ones

class TensorBuilder {
 public:
  TensorBuilder(const Pickle& pickle, const Storages& storages, TorchCheckpoint& out)
      : pickle_(pickle), storages_(storages), out_(out) {
    // Copies of strided tensors may not outgrow the file by much: a transposed matrix or two per
    // storage is honest, thousands of copies of one storage are not.
    for (const auto& [key, bytes] : storages) copy_budget_ += 4 * bytes.size();
  }

  void add(const NamedTensor& named);

 private:
  std::span<const std::byte> copy(const PickledTensor& tensor, uint64_t n_elems, uint64_t n_elem_bytes,
                                  const std::byte* origin, const std::string& shown);

  const Pickle& pickle_;
  const Storages& storages_;
  TorchCheckpoint& out_;
  uint64_t copy_budget_ = 0;
};

// Elements of the tensor; its last element is seen to lie inside the storage's `view_elems`.
uint64_t check_window(const PickledTensor& tensor, uint64_t view_elems, const std::string& shown) {
  std::optional<uint64_t> n_elems = 1, last = tensor.offset;
  bool is_empty = false;
  for (size_t d = 0; d < tensor.shape.size(); ++d) {
    const uint64_t dim = tensor.shape[d];
    if (n_elems) n_elems = checked_mul(*n_elems, dim);
    if (dim == 0) is_empty = true;
    if (dim == 0 || !last) continue;
    const auto reach = checked_mul(dim - 1, tensor.strides[d]);
    last = reach ? checked_add(*last, *reach) : std::nullopt;
  }
  if (!n_elems) fail(ErrorKind::kFormat, "tensor '{}': the product of its dimensions overflows", shown);
  if (is_empty) return 0;
  if (!last || *last >= view_elems)
    fail(ErrorKind::kFormat, "tensor '{}' reaches past the {} elements of its storage", shown, view_elems);
  if (*n_elems > view_elems)
    fail(ErrorKind::kUnsupported,
         "tensor '{}' repeats elements of its storage ({} elements from {}); save it contiguous", shown, *n_elems,
         view_elems);
  return *n_elems;
}

bool is_contiguous(const PickledTensor& tensor) {
  uint64_t expected = 1;
  for (size_t d = tensor.shape.size(); d-- > 0;) {
    if (tensor.shape[d] != 1 && tensor.strides[d] != expected) return false;
    expected *= tensor.shape[d];
  }
  return true;
}

std::span<const std::byte> TensorBuilder::copy(const PickledTensor& tensor, uint64_t n_elems, uint64_t n_elem_bytes,
                                               const std::byte* origin, const std::string& shown) {
  const uint64_t n_bytes = n_elems * n_elem_bytes;
  if (n_bytes > copy_budget_)
    fail(ErrorKind::kLimit,
         "the strided tensors of the checkpoint would take far more memory than the file ('{}' is the one too many)",
         shown);
  copy_budget_ -= n_bytes;
  auto buffer = std::make_shared<AlignedBuffer>(n_bytes);
  std::byte* to = buffer->data();
  std::vector<uint64_t> index(tensor.shape.size(), 0);
  for (uint64_t i = 0; i < n_elems; ++i, to += n_elem_bytes) {
    uint64_t from = 0;
    for (size_t d = 0; d < index.size(); ++d) from += index[d] * tensor.strides[d];
    std::memcpy(to, origin + from * n_elem_bytes, n_elem_bytes);
    for (size_t d = index.size(); d-- > 0 && ++index[d] == tensor.shape[d];) index[d] = 0;
  }
  const std::span<const std::byte> bytes = buffer->bytes();
  out_.owners.push_back(std::move(buffer));
  return bytes;
}

void TensorBuilder::add(const NamedTensor& named) {
  const PickledTensor& pickled = *named.tensor;
  const PickledStorage& storage = pickle_.storages[pickled.storage];
  const std::string shown = printable(named.name);
  const auto it = storages_.find(storage.key);
  if (it == storages_.end())
    fail(ErrorKind::kFormat, "tensor '{}': its storage '{}' is not in the file; is the download complete?", shown,
         printable(storage.key));
  const uint64_t n_elem_bytes = elem_bytes(storage.dtype);
  const auto n_storage = checked_mul(storage.n_elems, n_elem_bytes);
  if (!n_storage || *n_storage > it->second.size())
    fail(ErrorKind::kFormat,
         "storage '{}' of tensor '{}' should hold {} elements of {} bytes, but the file has {} bytes",
         printable(storage.key), shown, storage.n_elems, n_elem_bytes, it->second.size());

  Tensor tensor;
  tensor.name = std::string(named.name);
  tensor.dtype = storage.dtype;
  tensor.shape = pickled.shape;
  const uint64_t n_elems = check_window(pickled, storage.view_elems, shown);
  if (n_elems > 0) {
    const uint64_t begin = (storage.view_begin + pickled.offset) * n_elem_bytes;
    tensor.data = is_contiguous(pickled) ? it->second.subspan(begin, n_elems * n_elem_bytes)
                                         : copy(pickled, n_elems, n_elem_bytes, it->second.data() + begin, shown);
  }
  out_.tensors.push_back(std::move(tensor));
}

// Moves storages that lie at odd addresses (those of legacy files do) to where kernels may read
// them; whole storages, so that the tensors that share one still do.
void align_storages(Storages& storages, std::vector<std::shared_ptr<const void>>& owners) {
  for (auto& [key, bytes] : storages) {
    if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(double) == 0) continue;
    auto copy = std::make_shared<AlignedBuffer>(bytes.size());
    if (!bytes.empty()) std::memcpy(copy->data(), bytes.data(), bytes.size());
    bytes = copy->bytes();
    owners.push_back(std::move(copy));
  }
}

TorchCheckpoint build(const Pickle& pickle, Storages& storages) {
  TorchCheckpoint checkpoint;
  align_storages(storages, checkpoint.owners);
  TensorBuilder builder(pickle, storages, checkpoint);
  for (const NamedTensor& named : list_tensors(pickle)) builder.add(named);
  return checkpoint;
}

// ---- the two containers

std::span<const std::byte> content_of(const ZipEntry& entry, std::vector<std::shared_ptr<const void>>& owners,
                                      const Stop* stop) {
  if (!entry.deflated) return entry.packed;
  auto unpacked = inflate_entry(entry, stop);
  const std::span<const std::byte> bytes = unpacked->bytes();
  owners.push_back(std::move(unpacked));
  return bytes;
}

// NAME/data.pkl, NAME/data/KEY for every storage, and since torch 2.1 NAME/byteorder.
TorchCheckpoint parse_zip_checkpoint(std::span<const std::byte> bytes, const Stop* stop) {
  constexpr std::string_view kPickleName = "data.pkl";
  std::map<std::string_view, ZipEntry> entries;
  std::string prefix;
  const ZipEntry* pickle_entry = nullptr;
  for (const ZipEntry& entry : parse_zip(bytes)) {
    const auto it = entries.emplace(entry.name, entry).first;
    const bool is_pickle = entry.name == kPickleName || entry.name.ends_with("/data.pkl");
    if (!is_pickle) continue;
    if (pickle_entry) fail(ErrorKind::kFormat, "the checkpoint's zip archive has several data.pkl");
    pickle_entry = &it->second;
    prefix = entry.name.substr(0, entry.name.size() - kPickleName.size());
  }
  if (!pickle_entry) fail(ErrorKind::kFormat, "this zip archive has no data.pkl: it is not a torch checkpoint");

  std::vector<std::shared_ptr<const void>> owners;
  if (const auto it = entries.find(prefix + "byteorder"); it != entries.end()) {
    const auto order = content_of(it->second, owners, stop);
    if (std::string_view(reinterpret_cast<const char*>(order.data()), order.size()) != "little")
      fail(ErrorKind::kUnsupported,
           "the checkpoint was written on a big-endian machine; hunch reads little-endian ones only");
  }
  ByteReader in(content_of(*pickle_entry, owners, stop), "the checkpoint's pickle");
  const Pickle pickle = unpickle(in);

  Storages storages;
  for (const PickledStorage& storage : pickle.storages) {
    if (storages.count(storage.key)) continue;
    const auto it = entries.find(fmt::format("{}data/{}", prefix, storage.key));
    if (it != entries.end()) storages[storage.key] = content_of(it->second, owners, stop);
  }
  TorchCheckpoint checkpoint = build(pickle, storages);
  checkpoint.owners.insert(checkpoint.owners.end(), owners.begin(), owners.end());
  return checkpoint;
}

// Pickles of magic, protocol, system information, value and list of storage keys; then, in that
// list's order, every storage as its element count (int64) and its elements.
TorchCheckpoint parse_legacy_checkpoint(std::span<const std::byte> bytes) {
  ByteReader in(bytes, "the checkpoint");
  in.take(kLegacyMagic.size(), "the magic");
  const Pickle protocol = unpickle(in);
  const PickleNode& version = protocol.nodes[protocol.root];
  if (version.kind != Kind::kInt || version.number != kLegacyProtocol)
    fail(ErrorKind::kUnsupported, "the checkpoint's protocol is not {}", kLegacyProtocol);
  const Pickle system = unpickle(in);
  const PickleNode* little = system.lookup(system.nodes[system.root], "little_endian");
  if (little && little->kind == Kind::kBool && little->number == 0)
    fail(ErrorKind::kUnsupported,
         "the checkpoint was written on a big-endian machine; hunch reads little-endian ones only");

  const Pickle pickle = unpickle(in);
  std::map<std::string_view, uint64_t> bytes_per_elem;
  for (const PickledStorage& storage : pickle.storages) {
    const auto [it, is_new] = bytes_per_elem.emplace(storage.key, elem_bytes(storage.dtype));
    if (!is_new && it->second != elem_bytes(storage.dtype))
      fail(ErrorKind::kFormat, "storage '{}' of the checkpoint has two element types", printable(storage.key));
  }
  const Pickle keys = unpickle(in);
  const PickleNode& list = keys.nodes[keys.root];
  if (list.kind != Kind::kList) fail(ErrorKind::kFormat, "the checkpoint does not list its storages");

  Storages storages;
  for (PickleRef ref : list.items) {
    const std::string_view key = keys.nodes[ref].text;
    const auto it = bytes_per_elem.find(key);
    if (keys.nodes[ref].kind != Kind::kText || it == bytes_per_elem.end())
      fail(ErrorKind::kFormat, "the checkpoint lists storage '{}', which no tensor uses", printable(key));
    const auto n_bytes = checked_mul(in.read<uint64_t>("a storage's size"), it->second);
    if (!n_bytes) fail(ErrorKind::kFormat, "storage '{}' of the checkpoint claims an impossible size", printable(key));
    if (!storages.emplace(it->first, in.take(*n_bytes, "a storage")).second)
      fail(ErrorKind::kFormat, "the checkpoint lists storage '{}' twice", printable(key));
  }
  return build(pickle, storages);
}

}  // namespace

TorchCheckpoint parse_torch_checkpoint(std::span<const std::byte> bytes, const Stop* stop) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("PK")) return parse_zip_checkpoint(bytes, stop);
  if (text.starts_with(kLegacyMagic)) return parse_legacy_checkpoint(bytes);
  fail(ErrorKind::kFormat,
       "this is not a torch checkpoint: it begins neither as a zip archive nor with the magic number of torch < 1.6");
}

}  // namespace hunch
