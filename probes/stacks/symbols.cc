#include "probes/stacks/symbols.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/unique_fd.h"

namespace topspin {
namespace {

constexpr size_t kLongestName = 1024;       // of a symbol; a longer one is cut
constexpr size_t kMostSymbols = 4'000'000;  // of a table
constexpr size_t kMostNameBytes = 512u << 20;
constexpr uint64_t kMostSectionBytes = 256u << 20;  // of a table that is read in one go
constexpr int kMostTables = 4;                      // of each kind

std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

/// Takes a hexadecimal number and the space after it off the front of `line`.
std::optional<uint64_t> take_hex(std::string_view& line) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value, 16);
  if (error != std::errc{}) return std::nullopt;
  line.remove_prefix(static_cast<size_t>(end - line.data()));
  if (line.empty() || line[0] != ' ') return std::nullopt;
  line.remove_prefix(1);
  return value;
}

/// Copies a T from `file` at `offset`; nullopt if it does not lie inside.
template <typename T>
std::optional<T> read_at(std::span<const std::byte> file, uint64_t offset) {
  if (offset > file.size() || file.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, file.data() + offset, sizeof(T));
  return value;
}

/// The text at `offset` of a string table, up to its NUL or the table's end.
std::string_view text_at(std::span<const std::byte> table, uint64_t offset) {
  if (offset >= table.size()) return {};
  const char* begin = reinterpret_cast<const char*>(table.data() + offset);
  return {begin, ::strnlen(begin, std::min<uint64_t>(table.size() - offset, kLongestName))};
}

/// Some bytes of a file: as many of them as lie in it.
using ReadBytes = std::function<std::vector<std::byte>(uint64_t offset, uint64_t size)>;

/// A whole section; empty: it has no bytes in the file, or not all of them, or too many.
std::vector<std::byte> section_bytes(const ReadBytes& read, const Elf64_Shdr& s) {
  if (s.sh_type == SHT_NOBITS || s.sh_size > kMostSectionBytes) return {};
  std::vector<std::byte> bytes = read(s.sh_offset, s.sh_size);
  if (bytes.size() != s.sh_size) bytes.clear();
  return bytes;
}

void add_functions(std::span<const std::byte> symbols, std::span<const std::byte> names,
                   SymbolTable& into) {
  for (uint64_t at = 0; symbols.size() - at >= sizeof(Elf64_Sym); at += sizeof(Elf64_Sym)) {
    const auto symbol = *read_at<Elf64_Sym>(symbols, at);
    const int type = ELF64_ST_TYPE(symbol.st_info);
    if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol.st_shndx == SHN_UNDEF) continue;
    const std::string_view name = text_at(names, symbol.st_name);
    if (!name.empty()) into.add(symbol.st_value, symbol.st_size, name);
  }
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
  // Of several names of one place, the first added stays the first: .symtab before .dynsym.
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

std::optional<uint64_t> ElfSymbols::address_of(uint64_t file_offset) const {
  for (const Segment& segment : segments) {
    if (file_offset >= segment.file_offset && file_offset - segment.file_offset < segment.size)
      return segment.address + (file_offset - segment.file_offset);
  }
  return std::nullopt;
}

namespace {

/// Reads the headers and the tables of symbols and their names, and nothing else of the file.
std::optional<ElfSymbols> read_symbols(const ReadBytes& read) {
  const std::vector<std::byte> head = read(0, sizeof(Elf64_Ehdr));
  const auto header = read_at<Elf64_Ehdr>(head, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
    return std::nullopt;
  ElfSymbols elf;
  const std::vector<std::byte> segments =
      read(header->e_phoff, header->e_phnum * sizeof(Elf64_Phdr));
  for (uint64_t at = 0; segments.size() - at >= sizeof(Elf64_Phdr); at += sizeof(Elf64_Phdr)) {
    const auto segment = *read_at<Elf64_Phdr>(segments, at);
    if (segment.p_type == PT_LOAD)
      elf.segments.push_back({segment.p_offset, segment.p_vaddr, segment.p_filesz});
  }
  const std::vector<std::byte> table = read(header->e_shoff, header->e_shnum * sizeof(Elf64_Shdr));
  std::vector<Elf64_Shdr> sections;
  for (uint64_t at = 0; table.size() - at >= sizeof(Elf64_Shdr); at += sizeof(Elf64_Shdr))
    sections.push_back(*read_at<Elf64_Shdr>(table, at));
  for (const uint32_t wanted : {uint32_t{SHT_SYMTAB}, uint32_t{SHT_DYNSYM}}) {
    int tables = 0;
    for (const Elf64_Shdr& section : sections) {
      if (section.sh_type != wanted || section.sh_link >= sections.size()) continue;
      if (++tables > kMostTables) break;  // one of each kind is usual
      add_functions(section_bytes(read, section), section_bytes(read, sections[section.sh_link]),
                    elf.functions);
    }
  }
  elf.functions.finish();
  return elf;
}

}  // namespace

std::optional<ElfSymbols> parse_elf(std::span<const std::byte> file) {
  return read_symbols([file](uint64_t offset, uint64_t size) {
    if (offset > file.size()) return std::vector<std::byte>();
    const auto part = file.subspan(offset, std::min<uint64_t>(size, file.size() - offset));
    return std::vector<std::byte>(part.begin(), part.end());
  });
}

std::optional<ElfSymbols> read_elf(const std::string& path) {
  // O_NONBLOCK: a name may have become that of a FIFO.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0)
    return std::nullopt;
  const auto file_size = static_cast<uint64_t>(info.st_size);
  // Read, not mapped: a mapped file that is truncated meanwhile kills the reader.
  return read_symbols([&](uint64_t offset, uint64_t size) {
    std::vector<std::byte> bytes;
    if (offset >= file_size) return bytes;
    bytes.resize(std::min(size, file_size - offset));
    size_t filled = 0;
    while (filled < bytes.size()) {
      const ssize_t got = ::pread(fd.get(), bytes.data() + filled, bytes.size() - filled,
                                  static_cast<off_t>(offset + filled));
      if (got <= 0) break;
      filled += static_cast<size_t>(got);
    }
    bytes.resize(filled);
    return bytes;
  });
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
