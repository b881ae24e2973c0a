// Fuzz target: texts that name addresses: a JIT's perf-PID.map, /proc/kallsyms, /proc/PID/maps.
#include "probes/runtime/code_files.h"
#include "probes/stacks/cpu_stacks.h"
#include "probes/stacks/symbols.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  const std::string_view text = fuzz_text(data, size);
  const SymbolTable tables[] = {parse_perf_map(text), parse_kallsyms(text)};
  const CodeMap code = parse_code_maps(text);
  (void)parse_code_files(text);
  for (const uint64_t address : {uint64_t{0}, uint64_t{0x7f0012340010}, UINT64_MAX}) {
    for (const SymbolTable& table : tables) (void)frame_name(table.find(address));
    (void)code.find(address);
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      "7f0012340000 1a0 LazyCompile:~handler server.js:12\n8000 0 empty\n",
      "ffffffff81000000 T _text\nffffffffc0001000 t handler\t[module]\n",
      "7f0012340000-7f0012350000 r-xp 00001000 08:01 77   /usr/lib/lib c.so\n"
      "00400000-00401000 r-xp 00000000 00:00 0\n7f0012348000-7f0012349000 r-xp 0 0:0 0 [vdso]\n"};
}
