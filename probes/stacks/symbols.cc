#include "probes/stacks/symbols.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <memory>

#include <cxxabi.h>

namespace topspin {
namespace {

constexpr size_t kLongestName = 1024;       // of a symbol; a longer one is cut
constexpr size_t kMostSymbols = 4'000'000;  // per table
constexpr size_t kMostNameBytes = 512u << 20;

std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

/// Removes a hexadecimal number and the space after it from the front of `line`, and returns it.
std::optional<uint64_t> take_hex(std::string_view& line) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value, 16);
  if (error != std::errc{}) return std::nullopt;
  line.remove_prefix(static_cast<size_t>(end - line.data()));
  if (line.empty() || line[0] != ' ') return std::nullopt;
  line.remove_prefix(1);
  return value;
}

}  // namespace

void SymbolTable::add(uint64_t address, uint64_t size, std::string_view name) {
  name = name.substr(0, kLongestName);
  if (symbols_.size() >= kMostSymbols || names_.size() + name.size() > kMostNameBytes) return;
  symbols_.push_back(
      {address, size, static_cast<uint32_t>(names_.size()), static_cast<uint32_t>(name.size())});
  names_ += name;
}

void SymbolTable::finish() {
  // If several names have the same address, the first one added stays first: .symtab before
  // .dynsym.
  std::stable_sort(symbols_.begin(), symbols_.end(),
                   [](const Symbol& a, const Symbol& b) { return a.address < b.address; });
}

std::string_view SymbolTable::find(uint64_t address) const {
  auto after = std::upper_bound(symbols_.begin(), symbols_.end(), address,
                                [](uint64_t a, const Symbol& s) { return a < s.address; });
  if (after == symbols_.begin()) return {};
  const uint64_t begin = std::prev(after)->address;
  const auto first = std::lower_bound(symbols_.begin(), after, begin,
                                      [](const Symbol& s, uint64_t a) { return s.address < a; });
  for (auto it = first; it != after; ++it) {
    if (it->size == 0 || address - it->address < it->size)
      return std::string_view(names_).substr(it->name, it->length);
  }
  return {};
}

SymbolTable parse_kallsyms(std::string_view text) {
  SymbolTable table;
  bool any_address = false;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    const auto address = take_hex(line);
    if (!address || line.size() < 3) continue;
    const char type = line[0];
    if (type != 't' && type != 'T' && type != 'w' && type != 'W') continue;
    any_address |= *address != 0;
    line.remove_prefix(2);
    table.add(*address, 0, line.substr(0, line.find('\t')));  // without "\t[module]"
  }
  if (!any_address) return {};
  table.finish();
  return table;
}

SymbolTable parse_perf_map(std::string_view text) {
  SymbolTable table;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    const auto address = take_hex(line);
    const auto size = address ? take_hex(line) : std::nullopt;
    if (!size || *size == 0 || line.empty()) continue;
    table.add(*address, *size, line);
  }
  table.finish();
  return table;
}

namespace {

ElfSymbols functions_of(const ElfFile& elf) {
  ElfSymbols symbols;
  symbols.segments = elf.segments();
  elf.for_each_function([&](std::string_view name, uint64_t address, uint64_t size) {
    symbols.functions.add(address, size, name);
  });
  symbols.functions.finish();
  return symbols;
}

}  // namespace

std::optional<uint64_t> ElfSymbols::address_of(uint64_t file_offset) const {
  return linked_address(segments, file_offset);
}

std::optional<ElfSymbols> parse_elf(std::span<const std::byte> file) {
  const auto elf = ElfFile::of(file);
  return elf ? std::optional(functions_of(*elf)) : std::nullopt;
}

std::optional<ElfSymbols> read_elf(const std::string& path) {
  const auto elf = open_elf(path);
  return elf ? std::optional(functions_of(*elf)) : std::nullopt;
}

std::string frame_name(std::string_view symbol) {
  std::string name(symbol);
  if (name.starts_with("_Z")) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> readable(
        abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), &std::free);
    if (status == 0 && readable) name = std::string(readable.get()).substr(0, kLongestName);
  }
  for (char& c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == ';') c = ':';
    if (byte < 0x20 || byte == 0x7f) c = '?';
  }
  return name;
}

}  // namespace topspin
