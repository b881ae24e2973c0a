// The driver of fuzz targets where libFuzzer is not built in: runs the target on its seeds, on the
// files given and on the files under folders given, and on mutations of all of them. The mutations
// are the same in every run. An input that fails is left in the file failed-input.
//
// usage: NAME_fuzz MUTATIONS [FILE|FOLDER...]
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"

// A function of the address sanitizer; null if the program is built without it.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

std::vector<uint8_t> current;

void keep_current() {
  std::ofstream("failed-input", std::ios::binary)
      .write(reinterpret_cast<const char*>(current.data()),
             static_cast<std::streamsize>(current.size()));
  std::fputs("the input is in the file failed-input\n", stderr);
}

void run(const std::string& input) {
  // The buffer has exactly this size, so that the address sanitizer sees a read beyond it.
  current.assign(input.begin(), input.end());
  current.shrink_to_fit();
  LLVMFuzzerTestOneInput(current.data(), current.size());
}

/// Makes one small change, of the kind that parsers get wrong.
void mutate(std::string& input, const std::string& other, std::mt19937& random) {
  const auto below = [&](size_t limit) { return limit == 0 ? 0 : random() % limit; };
  const size_t at = below(input.size() + 1);
  const size_t length = 1 + below(std::min<size_t>(16, input.size() - at + 1));
  static const std::string kTelling[] = {std::string(8, '\0'),
                                         std::string(8, '\xff'),
                                         std::string(4, '\x7f'),
                                         "-1",
                                         "0",
                                         "18446744073709551616",
                                         "\n",
                                         "\r\n",
                                         ",",
                                         "\"",
                                         "(",
                                         ":",
                                         "%",
                                         "[",
                                         "=",
                                         " "};
  switch (random() % 7) {
    case 0: input.insert(at, 1, static_cast<char>(random())); break;
    case 1: input.erase(at, length); break;
    case 2: input.insert(at, input.substr(at, length)); break;
    case 3: input = input.substr(0, at) + other.substr(below(other.size() + 1)); break;
    case 4: input.insert(at, kTelling[random() % std::size(kTelling)]); break;
    case 5: {
      const std::string& telling = kTelling[random() % std::size(kTelling)];
      input.replace(at, std::min(telling.size(), input.size() - at), telling);
      break;
    }
    default:
      if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << random() % 8));
  }
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    std::exit(1);
  }
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> read_inputs(const std::filesystem::path& given) {
  if (!std::filesystem::is_directory(given)) return {read_file(given)};
  std::vector<std::string> inputs;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(given)) {
    if (entry.is_regular_file()) inputs.push_back(read_file(entry.path()));
  }
  return inputs;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s MUTATIONS [FILE|FOLDER...]\n", argv[0]);
    return 2;
  }
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(keep_current);
  std::signal(SIGABRT, [](int) { keep_current(); });
  std::vector<std::string> inputs = fuzz_seeds();
  for (int i = 2; i < argc; ++i) {
    for (std::string& input : read_inputs(argv[i])) inputs.push_back(std::move(input));
  }
  for (const std::string& input : inputs) run(input);
  const int mutations = std::atoi(argv[1]);
  std::mt19937 random(1);
  for (int i = 0; i < mutations; ++i) {
    std::string input = inputs[random() % inputs.size()];
    for (unsigned changes = 1 + random() % 4; changes > 0; --changes) {
      mutate(input, inputs[random() % inputs.size()], random);
    }
    run(input);
  }
  std::printf("ran %zu inputs and %d mutations of them\n", inputs.size(), mutations);
  return 0;
}
