# Writes OUTPUT, a C++ source with the bytes of the comma-separated FILES of the folder DIR, as serve/page.h names them.
string(REPLACE "," ";" FILES "${FILES}")
set(arrays "")
set(table "")
set(i 0)
foreach(file IN LISTS FILES)
  file(READ ${DIR}/${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
  string(APPEND arrays "constexpr unsigned char kPage${i}[] = {\n${bytes}};\n")
  string(APPEND table "  if (name == \"${file}\") return {reinterpret_cast<const char*>(kPage${i}), sizeof(kPage${i})};\n")
  math(EXPR i "${i} + 1")
endforeach()
file(WRITE ${OUTPUT} "// Made by cmake/EmbedFiles.cmake from src/serve/page/.
#include \"serve/page.h\"

namespace hunch::serve {
namespace {
${arrays}}  // namespace

std::string_view page_bytes(std::string_view name) {
${table}  return {};
}

}  // namespace hunch::serve
")
