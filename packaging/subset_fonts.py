"""Make the application's two fonts from Pretendard: ``python packaging/subset_fonts.py TARBALL_OR_FOLDER``.

The argument is the npm package ``pretendard`` (``npm pack pretendard``), packed or unpacked. What is kept: Latin, the
signs an interface needs, and all Hangul syllables. The licence reserves the name "Pretendard" for the unmodified
fonts, so that a subset has to carry a name of its own.
"""

import argparse
import shutil
import tarfile
import tempfile
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

FONTS = Path(__file__).resolve().parent.parent / "resources" / "fonts"
FAMILY = "Launchdeck Sans"
STYLES = ("Regular", "SemiBold")
RESERVED_NAME = "Pretendard"
RANGES = (
    (0x0020, 0x024F),  # Latin
    (0x02B0, 0x02FF),  # modifier letters
    (0x2000, 0x209F),  # punctuation, superscripts, subscripts
    (0x20A0, 0x20BF),  # currencies
    (0x2100, 0x218F),  # letter-like signs, fractions
    (0x2190, 0x22FF),  # arrows, mathematics
    (0x2300, 0x23FF),  # keys of a keyboard
    (0x25A0, 0x27BF),  # geometric shapes, check marks
    (0x3000, 0x303F),  # East Asian punctuation
    (0x3130, 0x318F),  # Hangul letters
    (0xAC00, 0xD7A3),  # Hangul syllables
)
# Without `calt`, which draws "->" as an arrow and the x of "8x7B" as a multiplication sign: text is shown as written.
FEATURES = ["case", "kern", "locl", "tnum", "zero"]
POSTSCRIPT_FAMILY = FAMILY.replace(" ", "")
FAMILY_BY_NAME_ID = {1: FAMILY, 3: POSTSCRIPT_FAMILY, 4: FAMILY, 6: POSTSCRIPT_FAMILY, 16: FAMILY}
TRADEMARK_NAME_ID = 7


def subset(font: TTFont) -> None:
    """Keep the glyphs of `RANGES` and the features of `FEATURES`."""
    options = Options(layout_features=FEATURES, name_IDs=["*"], notdef_outline=True)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=[code for first, last in RANGES for code in range(first, last + 1)])
    subsetter.subset(font)


def rename(font: TTFont) -> None:
    """Put `FAMILY` where the reserved name is shown to people or to programs."""
    names = font["name"]
    names.removeNames(nameID=TRADEMARK_NAME_ID)
    for record in names.names:
        if record.nameID in FAMILY_BY_NAME_ID:
            record.string = record.toUnicode().replace(RESERVED_NAME, FAMILY_BY_NAME_ID[record.nameID])
    outlines = font["CFF "].cff
    outlines.fontNames = [name.replace(RESERVED_NAME, POSTSCRIPT_FAMILY) for name in outlines.fontNames]
    top = outlines.topDictIndex[0]
    top.FamilyName = FAMILY
    top.FullName = top.FullName.replace(RESERVED_NAME, FAMILY)
    del top.rawDict["Notice"]  # the trademark again


def build(package: Path) -> None:
    """Write both fonts and the licence to resources/fonts."""
    FONTS.mkdir(parents=True, exist_ok=True)
    for style in STYLES:
        font = TTFont(package / f"dist/public/static/Pretendard-{style}.otf", recalcTimestamp=False)
        subset(font)
        rename(font)
        target = FONTS / f"LaunchdeckSans-{style}.otf"
        font.save(target)
        print(f"{target.name}: {target.stat().st_size / 1e6:.2f} MB, {len(font.getBestCmap())} characters")
    shutil.copyfile(package / "dist/LICENSE.txt", FONTS / "OFL.txt")


def main() -> None:
    """Unpack the package where it is still packed, and build."""
    parser = argparse.ArgumentParser(description="Make the application's fonts from Pretendard.")
    parser.add_argument("package", type=Path, help="the npm package, as a .tgz or an unpacked folder")
    package: Path = parser.parse_args().package
    if package.is_dir():
        build(package)
        return
    with tempfile.TemporaryDirectory() as folder, tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")
        build(Path(folder) / "package")


if __name__ == "__main__":
    main()
