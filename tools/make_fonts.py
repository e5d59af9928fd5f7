"""Makes the fonts of the drawings: `python tools/make_fonts.py FOLDER`, where FOLDER holds Arimo-{Regular,Bold}.ttf.

Keeps the letters that specs are written in (Latin, Greek, Cyrillic), arrows and the signs of arithmetic, and writes how
far each one reaches beside them, so that a text is measured without reading a font. Needs fontTools.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

FONTS = Path(__file__).resolve().parent.parent / "netdsl" / "draw" / "fonts"
RANGES = [
    (0x20, 0x7E), (0xA0, 0x17F), (0x192, 0x192), (0x2C6, 0x2C6), (0x2DC, 0x2DC), (0x370, 0x3FF), (0x400, 0x45F),
    (0x2010, 0x2015), (0x2018, 0x201E), (0x2020, 0x2022), (0x2026, 0x2026), (0x2030, 0x2033), (0x2039, 0x203A),
    (0x2044, 0x2044), (0x207F, 0x207F), (0x20AC, 0x20AC), (0x2116, 0x2126), (0x215B, 0x215E), (0x2190, 0x2195),
    (0x2202, 0x2265), (0x25A0, 0x25CF), (0xFFFD, 0xFFFD),
]  # fmt: skip


def main() -> None:
    advances = {}
    for style in ("Regular", "Bold"):
        options = subset.Options(
            hinting=False, notdef_outline=True, layout_features=["kern"], name_IDs=["*"], recalc_timestamp=False
        )
        font = TTFont(Path(sys.argv[1]) / f"Arimo-{style}.ttf", recalcTimestamp=False)
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=[code for first, last in RANGES for code in range(first, last + 1)])
        cutter.subset(font)
        font.save(FONTS / f"Arimo-{style}.ttf")
        em = font["head"].unitsPerEm
        advances[style.lower()] = {
            chr(code): round(1000 * font["hmtx"][glyph][0] / em) for code, glyph in sorted(font.getBestCmap().items())
        }
    with (FONTS / "advances.json").open("w", encoding="utf-8") as file:
        json.dump(advances, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
