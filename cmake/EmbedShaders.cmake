# Writes OUTPUT, a C++ source with the words of the comma-separated SPIR-V FILES under their names: vulkan/gpu.h's
# shader_words(). They are little-endian, as every machine is that glslangValidator writes them on for this build.
string(REPLACE "," ";" FILES "${FILES}")
set(arrays "")
set(table "")
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(..)(..)(..)(..)" "0x\\4\\3\\2\\1,\n" words "${hex}")
  string(APPEND arrays "constexpr uint32_t k_${name}[] = {${words}};\n")
  string(APPEND table "  if (name == \"${name}\") return k_${name};\n")
endforeach()
file(WRITE ${OUTPUT} "// Made by cmake/EmbedShaders.cmake from src/vulkan/shaders/.
#include \"vulkan/gpu.h\"

namespace hunch::vulkan {
namespace {
${arrays}}  // namespace

std::span<const uint32_t> shader_words(std::string_view name) {
${table}  return {};
}

}  // namespace hunch::vulkan
")
