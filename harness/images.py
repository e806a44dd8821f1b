"""Pictures between files and networks: 8-bit RGB pixels in, 8-bit RGB pixels out, and their PSNR.

Knows files and arrays, no codec, runtime or report. Every picture that the harness encodes comes
through `read_image` and `to_tensor`, and every decoded one ends in `to_pixels`: those two
conversions are defined here, to the last bit, and nowhere else.
"""

import io
import math
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from harness.errors import HarnessError, UserError
from harness.files import write_file

Pixels = NDArray[np.uint8]  # [height, width, 3], RGB
Floats = NDArray[np.float32]  # [1, 3, height, width], 0 to 1

MAX_PIXELS = 2**26
# Named, since Pillow would try everything it knows, and hand an EPS file to Ghostscript.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "GIF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm"})
GIVE_ANOTHER = "give a whole PNG, JPEG, WebP, TIFF, BMP or PPM file"
TOO_LARGE = f"exceeds {MAX_PIXELS} pixels; crop it or scale it down first"


def read_image(path: Path) -> Pixels:
    """Decode the picture (of an animation: its first frame) into [height, width, 3] 8-bit RGB.

    - The orientation that EXIF states is applied; colour profiles are ignored.
    - Grey, bilevel and palette pictures become the RGB values they stand for; CMYK, YCbCr and
      LAB are converted by Pillow.
    - Transparency is composited over white: (c * a + 255 * (255 - a) + 127) // 255, after which
      alpha is dropped. A transparent colour of a 16-bit grey picture is ignored.
    - 16-bit samples keep their high byte (v >> 8), with one exception: a colour PPM is scaled to
      8 bits by its decoder. Integers beyond 16 bits and float samples are refused, since nothing
      says which value is white.

    `UserError` for what is no such file, is damaged or truncated, or exceeds `MAX_PIXELS`; the
    size is checked before any pixel is decoded.
    """
    _require_nonempty_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what spoils the pixels raises; sizes are checked here
        try:
            with Image.open(path, formats=FORMATS) as image:
                _require_size(path, image.width, image.height)
                image.load()
                return _to_rgb(path, ImageOps.exif_transpose(image))
        except UserError:
            raise
        except Image.DecompressionBombError as error:
            raise UserError(f"{_name(path)} {TOO_LARGE}") from error
        except UnidentifiedImageError as error:
            raise UserError(f"{_name(path)} is not an image we know; {GIVE_ANOTHER}") from error
        except Exception as error:  # decoders raise almost anything at damaged files
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"cannot decode {_name(path)}: {reason}; {GIVE_ANOTHER}") from error


def list_images(folder: Path) -> list[Path]:
    """List the PNG, JPEG, WebP, TIFF, BMP and PPM files directly in `folder`, sorted by name.

    Told by suffix, in any case; hidden files are left out. `UserError` if there are none.
    """
    try:
        if not folder.is_dir():
            raise UserError(f"{_name(folder)} is not a folder; name a folder of images")
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()
        ]
    except OSError as error:
        raise UserError(f"cannot list {_name(folder)}: {error.strerror}; check it") from error
    if not found:
        raise UserError(f"no images in {_name(folder)}; they end in {', '.join(sorted(SUFFIXES))}")
    return sorted(found, key=lambda path: path.name)


def list_images_below(folder: Path, most: int) -> list[Path]:
    """Images of `folder` and the folders in it; where there are more than `most`, that many, evenly chosen."""
    if not folder.is_dir():
        raise UserError(f"{_name(folder)} is not a folder; name a folder of photographs")
    found: list[Path] = []
    for each in (folder, *sorted(path for path in folder.glob("*") if path.is_dir())):
        with suppress(UserError):  # no images directly in it: there may be some in the others
            found += list_images(each)
    if not found:
        raise UserError(f"no images in {_name(folder)}; they end in {', '.join(sorted(SUFFIXES))}")
    count = min(most, len(found))
    return [found[number * len(found) // count] for number in range(count)]


def write_png(path: Path, pixels: Pixels) -> None:
    """Write a PNG file that is there whole or not at all."""
    _require_pixels(pixels)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    write_file(path, buffer.getvalue())


def pad_to_multiple(pixels: Pixels, multiple: int) -> Pixels:
    """Repeat the last row and column until both sides are multiples of `multiple`.

    >>> pad_to_multiple(np.zeros((65, 64, 3), np.uint8), 64).shape
    (128, 64, 3)
    """
    _require_pixels(pixels)
    height, width, _ = pixels.shape
    return np.pad(pixels, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="edge")


def middle(pixels: Pixels, size: int) -> Pixels:
    """The middle of a picture, at most `size` pixels wide and high."""
    _require_pixels(pixels)
    top, left = (max(0, n - size) // 2 for n in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + size, left : left + size])


def unpad(pixels: Pixels, height: int, width: int) -> Pixels:
    """Undo `pad_to_multiple`: the top left `height` x `width` pixels."""
    _require_pixels(pixels)
    if not (0 < height <= pixels.shape[0] and 0 < width <= pixels.shape[1]):
        raise HarnessError(f"no {height}x{width} part in a picture of shape {list(pixels.shape)}")
    return pixels[:height, :width]


def to_tensor(pixels: Pixels) -> Floats:
    """Divide by 255 in float32 (one correctly rounded division) and reorder to [1, 3, H, W]."""
    _require_pixels(pixels)
    samples = pixels.astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(samples.transpose(2, 0, 1)[None])


def to_pixels(x_hat: Floats) -> Pixels:
    """Make the 8-bit picture of a reconstruction: this is the definition of "the 8-bit picture".

    NaN becomes 0; the rest is clipped to [0, 1], multiplied by 255 in float32 and rounded half to
    even, so that `to_pixels(to_tensor(pixels))` gives the same pixels back.
    """
    shape = x_hat.shape
    if x_hat.dtype != np.float32 or shape != (1, 3, *shape[-2:]) or not x_hat.size:
        raise HarnessError(
            f"a reconstruction is float32[1, 3, H, W], not {x_hat.dtype}{list(shape)}"
        )
    numbers = np.where(np.isnan(x_hat[0]), np.float32(0), x_hat[0])
    samples = np.rint(np.clip(numbers, np.float32(0), np.float32(1)) * np.float32(255))
    return np.ascontiguousarray(samples.astype(np.uint8).transpose(1, 2, 0))


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal-to-noise ratio in dB over all 8-bit RGB samples; infinite if they are equal."""
    _require_pixels(a)
    _require_pixels(b)
    if a.shape != b.shape:
        raise HarnessError(f"no PSNR between shapes {list(a.shape)} and {list(b.shape)}")
    difference = a.astype(np.int32) - b
    squares = int(np.sum(difference * difference, dtype=np.int64))  # exact; one rounding follows
    return 10 * math.log10(255**2 * a.size / squares) if squares else math.inf


def _to_rgb(path: Path, image: Image.Image) -> Pixels:
    if image.mode == "F":
        raise UserError(f"{_name(path)} has float samples; convert it to 8-bit or 16-bit RGB")
    if image.mode[0] == "I":  # I, I;16, I;16B, ...: integers of more than 8 bits
        grey = np.asarray(image, dtype=np.int32)
        if grey.min() < 0 or grey.max() >= 2**16:
            raise UserError(f"{_name(path)} has samples beyond 16 bits; convert it to 16-bit grey")
        return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if not image.has_transparency_data:
        return np.array(image.convert("RGB"), dtype=np.uint8)
    rgba = np.asarray(image.convert("RGBA"), dtype=np.uint8).astype(np.uint16)
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    over_white: NDArray[np.uint16] = colour * alpha + 255 * (255 - alpha) + 127  # 65152 at most
    return (over_white // 255).astype(np.uint8)


def _require_nonempty_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise UserError(f"{_name(path)} is a folder; name an image file in it")
        if not path.is_file():
            raise UserError(f"no file {_name(path)}; check the path")
        if path.stat().st_size == 0:
            raise UserError(f"{_name(path)} is empty; {GIVE_ANOTHER}")
    except OSError as error:
        raise UserError(f"cannot read {_name(path)}: {error.strerror}; check the path") from error


def _require_size(path: Path, width: int, height: int) -> None:
    if width * height == 0:
        raise UserError(f"{_name(path)} has no pixels; {GIVE_ANOTHER}")
    if width * height > MAX_PIXELS:
        raise UserError(f"{_name(path)} is {width}x{height}, which {TOO_LARGE}")


def _require_pixels(pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,) or not pixels.size:
        raise HarnessError(
            f"a picture is uint8[height, width, 3], not {pixels.dtype}{list(pixels.shape)}"
        )


def _name(path: Path) -> str:
    return repr(str(path))  # quoted, and one line whatever the name
