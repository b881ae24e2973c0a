// With libFuzzer, `NAME_fuzz --write-seeds=FOLDER` writes the seeds of the target as files, which
// libFuzzer takes as a corpus.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  constexpr std::string_view kOption = "--write-seeds=";
  if (*argc != 2 || !std::string_view((*argv)[1]).starts_with(kOption)) return 0;
  const std::filesystem::path folder = std::string_view((*argv)[1]).substr(kOption.size());
  std::filesystem::create_directories(folder);
  size_t number = 0;
  for (const std::string& seed : fuzz_seeds()) {
    std::ofstream file(folder / ("seed-" + std::to_string(number++)), std::ios::binary);
    if (!(file << seed).flush()) {
      std::fprintf(stderr, "cannot write %s\n", folder.c_str());
      std::exit(1);
    }
  }
  std::exit(0);
}
