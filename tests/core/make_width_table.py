#!/usr/bin/env python3
"""Writes the tables of core/base/text_width.cc from Python's Unicode data: which characters take no cell of a
terminal, and which take two.

Combining: categories Mn and Me. Wide: East Asian Width W or F. Unassigned code points inside the two CJK planes are
wide, as UAX 11 recommends. Run: tests/core/make_width_table.py
"""
import pathlib
import unicodedata


def ranges(predicate):
    out = []
    for code in range(0x300, 0x40000):
        if not predicate(chr(code)):
            continue
        if out and out[-1][1] == code - 1:
            out[-1][1] = code
        else:
            out.append([code, code])
    return out


def wide(c):
    return unicodedata.east_asian_width(c) in "WF" or 0x20000 <= ord(c) <= 0x2FFFD or 0x30000 <= ord(c) <= 0x3FFFD


def table(name, what, rows):
    lines = [f"/// {what}", f"constexpr std::array<CodePointRange, {len(rows)}> {name} = {{{{", "   "]
    for first, last in rows:
        item = f" {{0x{first:X}, 0x{last:X}}},"
        if len(lines[-1]) + len(item) > 100:
            lines.append("   ")
        lines[-1] += item
    return lines + ["}};"]


file = pathlib.Path(__file__).resolve().parents[2] / "core/base/text_width.cc"
before, rest = file.read_text().split("// clang-format off\n")
after = rest.split("// clang-format on\n")[1]
tables = [f"// Of Unicode {unicodedata.unidata_version}."]
tables += table("kCombining", "Marks that join the character before them and take no cell of their own.",
                ranges(lambda c: unicodedata.category(c) in ("Mn", "Me")))
tables += [""] + table("kWide", "Characters that take two cells.",
                       ranges(lambda c: wide(c) and unicodedata.category(c) not in ("Mn", "Me")))
file.write_text(before + "// clang-format off\n" + "\n".join(tables) + "\n// clang-format on\n" + after)
