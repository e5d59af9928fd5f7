"""Themes: text can be read on whatever is behind it (WCAG 2.2, 1.4.3), lines can be seen (1.4.11)."""

import pytest

from netdsl.draw.hatch import HATCHES, SOLID
from netdsl.draw.palette import THEMES, Theme, mixed

EVERY_THEME = pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)


def luminance(color: str) -> float:
    """Relative luminance of #rrggbb, as WCAG defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_that_of_the_recommendation() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    # The well-known grey that just passes on white.
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@EVERY_THEME
def test_text_can_be_read(theme: Theme) -> None:
    fills = [theme.paper, *theme.grounds, *(paint.fill for paint in theme.paints.values())]
    for fill in fills:
        assert contrast(theme.ink, fill) >= 7, fill
        assert contrast(theme.faint, fill) >= 4.5, fill
    for color in (theme.good, theme.bad, theme.changed, theme.skip):
        assert min(contrast(color, ground) for ground in (theme.paper, *theme.grounds)) >= 4.5, color
    for step in range(101):
        assert contrast(theme.ink, theme.heat(step / 100)) >= 4.5, step


@EVERY_THEME
def test_lines_can_be_seen(theme: Theme) -> None:
    for color in (theme.wire, theme.skip, theme.ground_line):
        assert min(contrast(color, ground) for ground in (theme.paper, *theme.grounds)) >= 3, color
    for name, paint in theme.paints.items():
        assert min(contrast(paint.line, theme.paper), contrast(paint.line, paint.fill)) >= 3, name


def test_the_printed_theme_has_no_colours_and_tells_kinds_apart() -> None:
    theme = THEMES["print"]
    paints = theme.paints.values()
    used = [
        theme.paper,
        theme.ink,
        theme.faint,
        theme.wire,
        theme.skip,
        theme.ground_line,
        *theme.grounds,
        *theme.heats,
    ]
    for color in [*used, *(paint.fill for paint in paints), *(paint.line for paint in paints)]:
        assert color[1:3] == color[3:5] == color[5:7], color
    hatches = [paint.hatch for paint in paints if paint.hatch]
    assert len(hatches) == len(set(hatches)) >= 7
    assert set(hatches) <= {*HATCHES, SOLID}


def test_heat_runs_from_one_end_to_the_other() -> None:
    for theme in THEMES.values():
        assert (theme.heat(-1), theme.heat(0), theme.heat(1), theme.heat(7)) == (
            theme.heats[0], theme.heats[0], theme.heats[-1], theme.heats[-1],
        )  # fmt: skip
    assert mixed("#000000", "#ffffff", 0.5) == "#808080"
