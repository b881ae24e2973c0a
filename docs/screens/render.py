#!/usr/bin/env python3
"""Renders a terminal's screen as SVG: `tmux capture-pane -e -p | docs/screens/render.py > screen.svg`.

Understands the SGR sequences that tmux writes (bold, dim, underline, reverse, 8, 16 and 256 colours). Block
characters are drawn as rectangles, so that graphs have no seams whatever the font.
"""
import re
import sys
import unicodedata
from xml.sax.saxutils import escape

CELL_W, CELL_H, FONT = 8.4, 17, 14
FOREGROUND, BACKGROUND = "#d0d0d0", "#101418"
BASE = ["#000000", "#cd3131", "#3fa34d", "#d7ba3b", "#3b78ff", "#b45fb4", "#2fb5b5", "#d8d8d8",
        "#666666", "#f14c4c", "#5fd07a", "#f5e264", "#6ba0ff", "#d688d6", "#5fe0e0", "#ffffff"]


def colour(number):
    if number < 16:
        return BASE[number]
    if number < 232:
        number -= 16
        steps = [0, 95, 135, 175, 215, 255]
        return "#%02x%02x%02x" % (steps[number // 36], steps[number // 6 % 6], steps[number % 6])
    level = 8 + 10 * (number - 232)
    return "#%02x%02x%02x" % (level, level, level)


class Style:
    def __init__(self):
        self.front, self.back = None, None
        self.bold = self.dim = self.underline = self.reverse = False

    def apply(self, codes):
        codes = codes or [0]
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.__init__()
            elif code == 1:
                self.bold = True
            elif code == 2:
                self.dim = True
            elif code == 4:
                self.underline = True
            elif code == 7:
                self.reverse = True
            elif code in (38, 48) and codes[:1] == [5]:
                value = colour(codes[1])
                del codes[:2]
                if code == 38:
                    self.front = value
                else:
                    self.back = value
            elif 30 <= code <= 37:
                self.front = BASE[code - 30]
            elif 40 <= code <= 47:
                self.back = BASE[code - 40]
            elif 90 <= code <= 97:
                self.front = BASE[code - 82]
            elif code == 39:
                self.front = None
            elif code == 49:
                self.back = None

    def key(self):
        front, back = self.front or FOREGROUND, self.back
        if self.reverse:
            front, back = back or BACKGROUND, front
        return front, back, self.bold, self.dim, self.underline


def cells(line, style):
    """(column, character, style key) of a line."""
    column = 0
    for part in re.split(r"(\x1b\[[0-9;]*m|\x1b[()][0-9A-B]|[\x0e\x0f])", line):
        match = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if match:
            style.apply([int(c or 0) for c in match.group(1).split(";")] if match.group(1) else [0])
            continue
        if part[:1] in ("\x1b", "\x0e", "\x0f"):
            continue
        for c in part:
            if unicodedata.combining(c):
                continue
            yield column, c, style.key()
            column += 2 if unicodedata.east_asian_width(c) in "WF" else 1


def block(c):
    """(top, height) of a block character as shares of its cell."""
    if c == "▀":
        return 0, 0.5
    if "▁" <= c <= "█":
        height = (ord(c) - ord("▁") + 1) / 8
        return 1 - height, height
    return None


def main():
    lines = sys.stdin.read().rstrip("\n").split("\n")
    style = Style()
    rows = [list(cells(line, style)) for line in lines]
    columns = max(max((x for x, _, _ in row), default=0) for row in rows) + 1
    width, height = columns * CELL_W + 16, len(rows) * CELL_H + 16
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
           f'viewBox="0 0 {width:.0f} {height:.0f}" font-size="{FONT}" '
           'font-family="DejaVu Sans Mono,Menlo,Consolas,monospace">',
           f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>']

    def rect(x, y, w, h, fill):
        out.append(f'<rect x="{8 + x * CELL_W:.1f}" y="{8 + y * CELL_H:.2f}" width="{w * CELL_W + 0.15:.2f}" '
                   f'height="{h * CELL_H + 0.15:.2f}" fill="{fill}"/>')

    for y, row in enumerate(rows):
        runs = []  # [first column, last column + 1, text, key, block]
        for x, c, key in row:
            shape = block(c)
            same = runs and runs[-1][1] == x and runs[-1][3] == key
            if same and runs[-1][4] == shape:
                runs[-1][1], runs[-1][2] = x + 1, runs[-1][2] + c
            else:
                runs.append([x, x + 1, c, key, shape])
        for first, last, text, (front, back, bold, dim, underline), shape in runs:
            if back:
                rect(first, y, last - first, 1, back)
            if shape:
                rect(first, y + shape[0], last - first, shape[1], front)
            elif text.strip():
                extra = (' font-weight="bold"' if bold else "") + (' opacity="0.6"' if dim else "")
                extra += ' text-decoration="underline"' if underline else ""
                out.append(f'<text x="{8 + first * CELL_W:.1f}" y="{8 + y * CELL_H + 13:.1f}" fill="{front}"{extra} '
                           f'textLength="{len(text) * CELL_W:.1f}" xml:space="preserve">{escape(text)}</text>')
    out.append("</svg>")
    print("\n".join(out))


if __name__ == "__main__":
    main()
