"""Pictures in and out, at the edges: every mode, every kind of bad file, every rounding tie."""

import hashlib
import math
import os
import re
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.errors import HarnessError, UserError
from harness.images import (
    MAX_PIXELS,
    list_images,
    pad_to_multiple,
    psnr,
    read_image,
    to_pixels,
    to_tensor,
    unpad,
    write_png,
)

FIXTURES = Path(__file__).parents[1] / "fixtures" / "images"
EVERY_UINT8 = np.arange(256, dtype=np.uint8)
# Six pixels, 2 rows of 3, no two alike: any flip, rotation or swap of channels shows.
SIX = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[1, 2, 3], [127, 128, 129], [254, 253, 252]]],
    dtype=np.uint8,
)


def png(size: tuple[int, int], *, depth: int, colour: int, row: bytes, trns: bytes = b"") -> bytes:
    """Build a PNG by hand, since Pillow writes neither 16-bit colour nor false headers."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"tRNS", trns) if trns else b"")
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, None, **options)
    return path


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert ";" in message, "says what to do"
    return message


# Modes


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tiff", "webp"])
def test_rgb_comes_back_as_it_is_from_every_lossless_format(tmp_path: Path, suffix: str) -> None:
    path = saved(Image.fromarray(SIX), tmp_path / f"six.{suffix}", lossless=True)
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert pixels.tolist() == SIX.tolist()


def test_a_jpeg_has_its_shape_and_roughly_its_colours(tmp_path: Path) -> None:
    red = Image.new("RGB", (17, 9), (200, 30, 40))
    pixels = read_image(saved(red, tmp_path / "red.jpg", quality=95))
    assert pixels.shape == (9, 17, 3)
    assert psnr(pixels, np.array(red)) > 40


def test_one_pixel(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (1, 1), (1, 2, 3)), tmp_path / "one.png")
    assert read_image(path).tolist() == [[[1, 2, 3]]]


def test_grey_is_the_same_in_every_channel(tmp_path: Path) -> None:
    pixels = read_image(saved(Image.fromarray(EVERY_UINT8[None]), tmp_path / "grey.png"))
    assert pixels[0].tolist() == [[v, v, v] for v in range(256)]


def test_bilevel_is_black_and_white(tmp_path: Path) -> None:
    bits = Image.new("1", (2, 1))
    bits.putpixel((1, 0), 1)
    assert read_image(saved(bits, tmp_path / "bits.png")).tolist() == [[[0] * 3, [255] * 3]]


def palette() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    return image


def test_palette(tmp_path: Path) -> None:
    path = saved(palette(), tmp_path / "palette.png")
    assert read_image(path).tolist() == [[[10, 20, 30], [40, 50, 60]]]


@pytest.mark.parametrize(
    ("transparency", "expected"),
    [
        (0, [[255, 255, 255], [40, 50, 60]]),
        (1, [[10, 20, 30], [255, 255, 255]]),
        (b"\xff\x00", [[10, 20, 30], [255, 255, 255]]),
        (b"\x80\xff", [[132, 137, 142], [40, 50, 60]]),
    ],
)
def test_palette_with_transparency_is_over_white(
    tmp_path: Path, transparency: int | bytes, expected: list[list[int]]
) -> None:
    path = saved(palette(), tmp_path / "palette.png", transparency=transparency)
    assert read_image(path).tolist() == [expected]


def test_alpha_is_composited_over_white_for_every_alpha_and_grey(tmp_path: Path) -> None:
    alpha, value = np.meshgrid(EVERY_UINT8, EVERY_UINT8, indexing="ij")
    image = Image.fromarray(np.stack([value, alpha], axis=-1))
    assert image.mode == "LA"
    expected = [[(v * a + 255 * (255 - a) + 127) // 255 for v in range(256)] for a in range(256)]
    for mode in ("LA", "RGBA"):
        pixels = read_image(saved(image.convert(mode), tmp_path / f"{mode}.png"))
        assert all(pixels[..., channel].tolist() == expected for channel in range(3))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png((2, 1), depth=8, colour=0, row=b"\7\x08", trns=b"\0\7"), [[255] * 3, [8] * 3]),
        (
            png((2, 1), depth=8, colour=2, row=b"\1\2\3\4\5\6", trns=b"\0\1\0\2\0\3"),
            [[255, 255, 255], [4, 5, 6]],
        ),
        (png((2, 1), depth=1, colour=0, row=b"\x40", trns=b"\0\0"), [[255] * 3, [255] * 3]),
        (png((2, 1), depth=1, colour=0, row=b"\x40", trns=b"\0\1"), [[0] * 3, [255] * 3]),
        (
            png((2, 1), depth=16, colour=0, row=b"\7\xff\x08\0", trns=b"\7\xff"),
            [[7] * 3, [8] * 3],
        ),
    ],
    ids=["grey", "rgb", "black of bilevel", "white of bilevel", "grey16 ignores it"],
)
def test_one_transparent_colour(tmp_path: Path, content: bytes, expected: list[list[int]]) -> None:
    path = tmp_path / "key.png"
    path.write_bytes(content)
    assert read_image(path).tolist() == [expected]


EDGES_OF_16_BITS = [0, 1, 127, 128, 255, 256, 32767, 32768, 65279, 65280, 65535]


@pytest.mark.parametrize("suffix", ["png", "tiff", "ppm"])
def test_16_bit_grey_keeps_its_high_byte(tmp_path: Path, suffix: str) -> None:
    grey = Image.fromarray(np.array([EDGES_OF_16_BITS], dtype=np.uint16))
    pixels = read_image(saved(grey, tmp_path / f"grey.{suffix}"))
    assert pixels[0].tolist() == [[v >> 8] * 3 for v in EDGES_OF_16_BITS]


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_grey_of_either_byte_order(tmp_path: Path, order: str) -> None:
    samples = np.array([EDGES_OF_16_BITS], dtype=order)
    path = saved(Image.fromarray(samples), tmp_path / "grey.tiff")
    assert read_image(path)[0, :, 1].tolist() == [v >> 8 for v in EDGES_OF_16_BITS]


def test_16_bit_colour_keeps_its_high_byte(tmp_path: Path) -> None:
    row = struct.pack(">33H", *(v for e in EDGES_OF_16_BITS for v in (e, 65535 - e, 4660)))
    path = tmp_path / "deep.png"
    path.write_bytes(png((len(EDGES_OF_16_BITS), 1), depth=16, colour=2, row=row))
    expected = [[e >> 8, (65535 - e) >> 8, 0x12] for e in EDGES_OF_16_BITS]
    assert read_image(path)[0].tolist() == expected


def test_16_bit_alpha_keeps_its_high_byte_too(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(png((1, 1), depth=16, colour=4, row=b"\7\xff\xff\0"))
    assert read_image(path).tolist() == [[[7, 7, 7]]]


def test_cmyk(tmp_path: Path) -> None:
    ink = Image.new("CMYK", (2, 1), (0, 0, 0, 0))
    ink.putpixel((1, 0), (0, 255, 255, 0))
    path = saved(ink, tmp_path / "ink.tiff")
    assert read_image(path).tolist() == [[[255, 255, 255], [255, 0, 0]]]


@pytest.mark.parametrize("first", [(9, 8, 7), (0, 0, 0)])
def test_of_an_animation_the_first_frame(tmp_path: Path, first: tuple[int, int, int]) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (first, (200, 0, 0), (0, 200, 0))]
    for name in ("a.png", "a.tiff", "a.webp", "a.gif"):
        path = saved(
            frames[0], tmp_path / name, save_all=True, append_images=frames[1:], lossless=True
        )
        assert read_image(path).tolist() == np.array(frames[0]).tolist()


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, SIX),
        (2, SIX[:, ::-1]),
        (3, SIX[::-1, ::-1]),
        (4, SIX[::-1]),
        (5, SIX.transpose(1, 0, 2)),
        (6, np.rot90(SIX, -1)),
        (7, SIX[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(SIX)),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_exif_orientation_is_applied_once(
    tmp_path: Path, suffix: str, orientation: int, expected: NDArray[np.uint8]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.fromarray(SIX), tmp_path / f"turned.{suffix}", exif=exif, lossless=True)
    assert read_image(path).tolist() == expected.tolist()


def test_a_turned_16_bit_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = Image.fromarray(np.array([[256, 512]], dtype=np.uint16))
    assert read_image(saved(grey, tmp_path / "t.png", exif=exif))[..., 0].tolist() == [[1], [2]]


# Bad files


def test_missing(tmp_path: Path) -> None:
    assert "no file" in error_of(lambda: read_image(tmp_path / "none.png"))
    assert "no file" in error_of(lambda: read_image(Path("nul\0byte.png")))


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in error_of(lambda: read_image(tmp_path))


def test_below_a_file_and_with_too_long_a_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert "check the path" in error_of(lambda: read_image(tmp_path / "file" / "a.png"))
    assert "check the path" in error_of(lambda: read_image(tmp_path / ("n" * 300)))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "no file" in error_of(lambda: read_image(tmp_path / "pipe.png"))


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(Image.fromarray(SIX), tmp_path / "six.png")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("PIL.Image.open", refuse)
    assert "Permission denied" in error_of(lambda: read_image(path))


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert "is empty" in error_of(lambda: read_image(tmp_path / "empty.png"))


@pytest.mark.parametrize(
    "content",
    [b"\n", b"not an image\n" * 100, b"\x89PNG\r\n\x1a\n", bytes(4096), b"%!PS-Adobe-3.0 EPSF-3.0"],
)
def test_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.png"
    path.write_bytes(content)
    assert "text.png" in error_of(lambda: read_image(path))


def test_a_name_with_a_line_break_still_makes_one_line(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines.png"
    assert r"two\nlines" in error_of(lambda: read_image(path))
    path.write_bytes(b"no image")
    assert r"two\nlines" in error_of(lambda: read_image(path))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp", "ppm", "gif"])
def test_truncated_anywhere(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    whole = saved(Image.fromarray(noise), tmp_path / f"whole.{suffix}").read_bytes()
    path = tmp_path / f"part.{suffix}"
    for length in {1, 2, 8, 20, 33, 60, *range(100, len(whole) // 2, 97), len(whole) // 2}:
        path.write_bytes(whole[:length])
        assert "part." in error_of(lambda: read_image(path))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp", "ppm", "gif"])
def test_damage_gives_a_picture_or_one_line(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    whole = saved(Image.fromarray(noise), tmp_path / f"whole.{suffix}").read_bytes()
    path = tmp_path / f"hurt.{suffix}"
    for position in range(0, min(len(whole), 400), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        message = ""
        try:
            read_image(path)
        except UserError as error:
            message = str(error)
        assert "\n" not in message


@pytest.mark.parametrize(
    ("width", "height"), [(100_000, 100_000), (2**13, 2**13 + 1), (10_000, 10_000), (2**26 + 1, 1)]
)
def test_too_large_is_refused_from_the_header(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png((width, height), depth=8, colour=2, row=b""))
    message = error_of(lambda: read_image(path))
    assert str(MAX_PIXELS) in message
    assert "scale it down" in message


def test_the_largest_allowed_size_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.images.MAX_PIXELS", 6)
    assert read_image(saved(Image.fromarray(SIX), tmp_path / "six.png")).shape == SIX.shape
    seven = saved(Image.new("RGB", (7, 1)), tmp_path / "seven.png")
    assert "7x1" in error_of(lambda: read_image(seven))


def test_float_samples_are_refused(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.ones((2, 2), np.float32)), tmp_path / "float.tiff")
    assert "float samples" in error_of(lambda: read_image(path))


@pytest.mark.parametrize("value", [-1, 65536, -(2**31), 2**31 - 1])
def test_integers_beyond_16_bits_are_refused(tmp_path: Path, value: int) -> None:
    samples = np.array([[0, value]], dtype=np.int32)
    path = saved(Image.fromarray(samples), tmp_path / "wide.tiff")
    assert "beyond 16 bits" in error_of(lambda: read_image(path))


# Folders


def test_images_of_a_folder_by_name(tmp_path: Path) -> None:
    names = ["B.PNG", "a.jpg", "a.jpeg", "c.webp", "d.tif", "e.tiff", "f.bmp", "g.ppm"]
    for name in [*names, ".hidden.png", "notes.md", "png", "a.png.partial"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == sorted(names)


def test_a_folder_without_images(tmp_path: Path) -> None:
    assert "no images" in error_of(lambda: list_images(tmp_path))
    assert "not a folder" in error_of(lambda: list_images(tmp_path / "none"))
    (tmp_path / "file.png").touch()
    assert "not a folder" in error_of(lambda: list_images(tmp_path / "file.png"))


# Padding


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (63, 64), (64, 65), (64, 64), (128, 1), (2, 3)]
)
@pytest.mark.parametrize("multiple", [1, 16, 64])
def test_padding_repeats_the_edge_and_comes_off(height: int, width: int, multiple: int) -> None:
    rng = np.random.default_rng(height * 1000 + width)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    padded = pad_to_multiple(pixels, multiple)
    for side, original in zip(padded.shape[:2], (height, width), strict=True):
        assert side % multiple == 0
        assert 0 <= side - original < multiple
    assert unpad(padded, height, width).tolist() == pixels.tolist()
    assert (padded[height:, :width] == pixels[-1]).all()
    assert (padded[:, width:] == padded[:, width - 1 : width]).all()


@pytest.mark.parametrize(("height", "width"), [(0, 1), (1, 0), (3, 3), (2, 4), (-1, 1)])
def test_unpad_never_gives_another_size_than_asked(height: int, width: int) -> None:
    with pytest.raises(HarnessError, match=r"no .* part"):
        unpad(SIX, height, width)


# Tensors


def test_to_tensor_divides_in_float32() -> None:
    tensor = to_tensor(SIX)
    assert (tensor.dtype, tensor.shape) == (np.dtype(np.float32), (1, 3, 2, 3))
    assert tensor.flags.c_contiguous
    grey = np.repeat(EVERY_UINT8[None, :, None], 3, axis=2)
    # The double quotient rounded to float32 is the correctly rounded one (double rounding is
    # harmless here: 53 >= 2 * 24 + 2), so this is another way to the same bits.
    expected = np.array([v / 255 for v in range(256)]).astype(np.float32)
    assert to_tensor(grey)[0, 2, 0].tobytes() == expected.tobytes()


def test_every_pixel_value_survives_the_round_trip() -> None:
    pixels = np.stack([EVERY_UINT8, EVERY_UINT8[::-1], np.roll(EVERY_UINT8, 7)], axis=-1)[None]
    assert to_pixels(to_tensor(pixels)).tolist() == pixels.tolist()
    assert to_pixels(to_tensor(SIX)).tolist() == SIX.tolist()


def rounded(*values: float) -> list[int]:
    x_hat = np.zeros((1, 3, 1, len(values)), dtype=np.float32)
    x_hat[0, 1, 0] = values
    return [int(v) for v in to_pixels(x_hat)[0, :, 1]]


@pytest.mark.parametrize(
    ("value", "product", "pixel"),
    [(0.5, 127.5, 128), (0.1, 25.5, 26), (0.3, 76.5, 76), (0.7, 178.5, 178), (0.9, 229.5, 230)],
)
def test_ties_go_to_the_even_value(value: float, product: float, pixel: int) -> None:
    assert np.float32(value) * np.float32(255) == product, "is a tie in float32"
    assert rounded(value) == [pixel]


def test_nan_is_black_and_the_rest_is_clipped() -> None:
    assert rounded(math.nan, math.inf, -math.inf, 1.5, -0.5, -0.0, 1e-45) == [
        *(0, 255, 0, 255, 0, 0, 0)
    ]
    assert rounded(3.4e38, -3.4e38) == [255, 0]


@pytest.mark.parametrize(
    "x_hat",
    [
        np.zeros((1, 3, 2, 2), np.float64),
        np.zeros((2, 3, 2, 2), np.float32),
        np.zeros((1, 1, 2, 2), np.float32),
        np.zeros((3, 2, 2), np.float32),
        np.zeros((1, 3), np.float32),
        np.zeros((1, 3, 0, 2), np.float32),
    ],
    ids=lambda x: f"{x.dtype}{list(x.shape)}",
)
def test_a_reconstruction_of_another_type_or_shape_is_refused(x_hat: NDArray[np.float32]) -> None:
    with pytest.raises(HarnessError, match=r"float32\[1, 3, H, W\]"):
        to_pixels(x_hat)


@pytest.mark.parametrize(
    "pixels",
    [SIX.astype(np.int16), SIX[0], SIX[None], SIX[..., :2], SIX[:0], SIX[..., 0]],
    ids=lambda x: f"{x.dtype}{list(x.shape)}",
)
def test_pixels_of_another_type_or_shape_are_refused(
    tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    for call in (
        lambda: to_tensor(pixels),
        lambda: pad_to_multiple(pixels, 64),
        lambda: unpad(pixels, 1, 1),
        lambda: psnr(pixels, pixels),
        lambda: write_png(tmp_path / "bad.png", pixels),
    ):
        with pytest.raises(HarnessError, match="a picture is uint8"):
            call()
    assert not list(tmp_path.iterdir())


# PSNR


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (0, 255, 0.0),
        (255, 0, 0.0),
        (100, 101, 20 * math.log10(255)),
        (7, 7, math.inf),
    ],
)
def test_psnr_of_flat_pictures(a: int, b: int, expected: float) -> None:
    first, second = (np.full((3, 5, 3), v, dtype=np.uint8) for v in (a, b))
    assert psnr(first, second) == pytest.approx(expected, rel=1e-15)


def test_psnr_of_one_sample_off_by_one_does_not_wrap() -> None:
    other = SIX.copy()
    other[0, 0, 1] = 1
    expected = 10 * math.log10(255**2 * 18)
    assert psnr(SIX, other) == psnr(other, SIX) == pytest.approx(expected, rel=1e-15)


def test_psnr_needs_equal_shapes() -> None:
    with pytest.raises(HarnessError, match="no PSNR between"):
        psnr(SIX, SIX[:1])


# Writing


def test_write_then_read(tmp_path: Path) -> None:
    path = tmp_path / "six.png"
    path.write_bytes(b"what was there before")
    write_png(path, SIX)
    write_png(tmp_path / "turned.png", SIX.transpose(1, 0, 2))
    assert read_image(path).tolist() == SIX.tolist()
    assert read_image(tmp_path / "turned.png").tolist() == SIX.transpose(1, 0, 2).tolist()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["six.png", "turned.png"]


def test_a_write_that_cannot_start_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for folder in ("file", "none"):
        path = tmp_path / folder / "a.png"
        assert "existing, writable folder" in error_of(partial(write_png, path, SIX))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_write_that_cannot_finish_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    assert "cannot write" in error_of(lambda: write_png(tmp_path / "folder.png", SIX))
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


def test_a_write_that_fails_midway_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "six.png"
    write_png(path, SIX)

    def full(name: Path, data: bytes) -> int:
        with name.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left" in error_of(lambda: write_png(path, SIX[:1]))
    assert [p.name for p in tmp_path.iterdir()] == ["six.png"]
    assert read_image(path).tolist() == SIX.tolist()


# The images that ship


def test_shipped_images_are_those_of_the_licence_table() -> None:
    table = (FIXTURES / "LICENSES.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([\w-]+\.png)` .*`([0-9a-f]{64})` \|$", table, re.MULTILINE))
    shipped = {
        path.name: hashlib.sha256(read_image(path).tobytes()).hexdigest()
        for path in list_images(FIXTURES)
    }
    assert shipped == listed
    assert len(shipped) >= 6


def test_shipped_images_are_small_and_some_need_padding() -> None:
    sizes = [read_image(path).shape[:2] for path in list_images(FIXTURES)]
    assert max(map(max, sizes)) <= 512
    assert sum(height % 64 > 0 or width % 64 > 0 for height, width in sizes) >= 2
    assert sum(path.stat().st_size for path in FIXTURES.iterdir()) <= 3_200_000
