// Fuzz target: an ELF file, for its functions' names and its USDT probes.
#include <algorithm>
#include <cstring>

#include <elf.h>

#include "probes/elf/elf_file.h"
#include "probes/stacks/symbols.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (const auto file = topspin::ElfFile::of(bytes)) {
    file->for_each_usdt(
        [&](const topspin::ElfUsdt& probe) { (void)file->offset_of(probe.address); });
  }
  const auto elf = topspin::parse_elf(bytes);
  if (!elf) return 0;
  for (const auto& segment : elf->segments) (void)elf->address_of(segment.file_offset);
  for (const uint64_t address : {uint64_t{0}, uint64_t{0x1000}, UINT64_MAX}) {
    (void)topspin::frame_name(elf->functions.find(address));
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  // A header, one segment, a symbol table of two functions, and their names.
  struct {
    Elf64_Ehdr header{};
    Elf64_Phdr segment{};
    Elf64_Shdr sections[5]{};
    Elf64_Sym symbols[2]{};
    char names[32] = "\0main\0_ZN3foo3barEv";
    char section_names[24] = "\0.note.stapsdt";
    Elf64_Nhdr note{};
    char note_name[8] = "stapsdt";
    uint32_t note_addresses[6] = {0x1000, 0, 0, 0, 0x1800, 0};  // of 64 bits each
    char note_texts[16] = "python\0gc__done";
  } file;
  const auto offset = [&](const void* member) {
    return static_cast<uint64_t>(static_cast<const char*>(member) -
                                 reinterpret_cast<const char*>(&file));
  };
  std::memcpy(file.header.e_ident, ELFMAG, SELFMAG);
  file.header.e_ident[EI_CLASS] = ELFCLASS64;
  file.header.e_ident[EI_DATA] = ELFDATA2LSB;
  file.header.e_ident[EI_VERSION] = EV_CURRENT;
  file.header.e_type = ET_DYN;
  file.header.e_machine = EM_X86_64;
  file.header.e_version = EV_CURRENT;
  file.header.e_ehsize = sizeof(file.header);
  file.header.e_phoff = offset(&file.segment);
  file.header.e_phentsize = sizeof(file.segment);
  file.header.e_phnum = 1;
  file.header.e_shoff = offset(&file.sections);
  file.header.e_shentsize = sizeof(file.sections[0]);
  file.header.e_shnum = 5;
  file.header.e_shstrndx = 4;
  file.segment.p_type = PT_LOAD;
  file.segment.p_flags = PF_R | PF_X;
  file.segment.p_filesz = file.segment.p_memsz = 0x2000;
  file.sections[1].sh_type = SHT_SYMTAB;
  file.sections[1].sh_offset = offset(&file.symbols);
  file.sections[1].sh_size = sizeof(file.symbols);
  file.sections[1].sh_entsize = sizeof(file.symbols[0]);
  file.sections[1].sh_link = 2;
  file.sections[2].sh_type = SHT_STRTAB;
  file.sections[2].sh_offset = offset(&file.names);
  file.sections[2].sh_size = sizeof(file.names);
  file.sections[3].sh_type = SHT_NOTE;
  file.sections[3].sh_name = 1;
  file.sections[3].sh_offset = offset(&file.note);
  file.sections[3].sh_size = sizeof(file.note) + sizeof(file.note_name) +
                             sizeof(file.note_addresses) + sizeof(file.note_texts);
  file.sections[4].sh_type = SHT_STRTAB;
  file.sections[4].sh_offset = offset(&file.section_names);
  file.sections[4].sh_size = sizeof(file.section_names);
  file.note.n_namesz = sizeof(file.note_name);
  file.note.n_descsz = sizeof(file.note_addresses) + sizeof(file.note_texts);
  file.note.n_type = 3;
  for (Elf64_Sym& symbol : file.symbols) {
    symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    symbol.st_shndx = 1;
    symbol.st_size = 16;
  }
  file.symbols[0].st_name = 1;
  file.symbols[0].st_value = 0x1000;
  file.symbols[1].st_name = 6;
  file.symbols[1].st_value = 0x1010;
  return {std::string(reinterpret_cast<const char*>(&file), sizeof(file))};
}
