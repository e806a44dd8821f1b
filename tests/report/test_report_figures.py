import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from harness.errors import HarnessError
from harness.report.captions import caption, figure_name, psnr
from harness.report.figures import matrix_figure, panel_figure
from harness.report.json_results import to_results
from harness.report.pictures import block_maxima
from harness.results import Run
from harness.verdict import Outcome
from tests.report.report_runs import make_case, make_panel, make_run, make_verdict

CASE = make_case()


def opened(png: bytes) -> Image.Image:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return Image.open(io.BytesIO(png))


def test_panel_is_a_deterministic_picture_of_sane_size() -> None:
    panel, verdict = make_panel(CASE), make_verdict(CASE, Outcome.UNDECODABLE)
    png = panel_figure(panel, verdict)
    with opened(png) as picture:
        assert picture.size[0] == 1430
        assert 300 < picture.size[1] < 700
        assert "Software" not in picture.info
    assert png == panel_figure(panel, verdict)
    assert len(png) < 1_000_000


@pytest.mark.parametrize(
    ("rows", "columns", "first_at"), [(16, 640, (0, 0)), (640, 32, (639, 31)), (1, 1, None)]
)
def test_panel_takes_every_shape_and_position(
    rows: int, columns: int, first_at: tuple[int, int] | None
) -> None:
    panel = make_panel(CASE, side=640)
    panel = replace(
        panel,
        original=panel.original[:rows, :columns],
        encoder_picture=panel.encoder_picture[:rows, :columns],
        decoder_picture=panel.decoder_picture[:rows, :columns],
        first_at=first_at,
    )
    opened(panel_figure(panel, make_verdict(CASE, Outcome.DIVERGED))).close()


def test_panels_that_look_different_have_different_figures() -> None:
    panel, verdict = make_panel(CASE), make_verdict(CASE, Outcome.UNDECODABLE)
    assert panel_figure(panel, verdict) != panel_figure(replace(panel, first_at=None), verdict)


def test_pictures_of_different_shapes_are_refused() -> None:
    panel = make_panel(CASE)
    panel = replace(panel, decoder_picture=panel.decoder_picture[1:])
    with pytest.raises(HarnessError, match="pictures have the shapes"):
        panel_figure(panel, make_verdict(CASE, Outcome.DIVERGED))


def test_a_single_wrong_pixel_survives_shrinking() -> None:
    steps = np.zeros((1_000, 700), np.int16)
    steps[999, 0] = 1
    small = block_maxima(steps, 4)
    assert small.shape == (250, 175)
    assert small.sum() == 1


def test_lost_panel_says_what_was_lost() -> None:
    text = caption(make_panel(CASE), make_verdict(CASE, Outcome.UNDECODABLE))
    assert text.startswith(
        "mbt2018-mean, quality 3, fp32: encoded on ort-cpu (0.412 bit per pixel), decoded on torch."
    )
    assert "3 of 49,152 CDF indexes flipped" in text
    assert "31,004 of 49,152 symbols (63.1 %) were decoded wrongly" in text
    assert "The decoder's own check refused the stream" in text
    assert "dB at the encoder" in text


def test_identical_panel_says_so_and_counts() -> None:
    case = make_case("w8a8", "torch", "torch")
    text = caption(make_panel(case, lost=False), make_verdict(case, Outcome.IDENTICAL))
    assert "encoded (0.412 bit per pixel) and decoded on torch" in text
    assert "Every one of 49,152 symbols is identical." in text
    assert "Every one of 27,648 8-bit picture values is identical too." in text


def test_round_off_is_counted_not_hidden() -> None:
    panel = make_panel(CASE, lost=False)
    picture = panel.decoder_picture.copy()
    picture[0, 0, 0] += 1
    panel = replace(panel, decoder_picture=picture)
    text = caption(panel, make_verdict(CASE, Outcome.IDENTICAL))
    assert "rounds 1 of 27,648 8-bit picture values differently, by at most 1 step of 255" in text


def test_no_wraparound_in_eight_bits() -> None:
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    panel = replace(make_panel(CASE), original=black, encoder_picture=black, decoder_picture=white)
    assert "by at most 255 steps" in caption(panel, make_verdict(CASE, Outcome.DIVERGED))
    assert psnr(black, white) == 0


@pytest.mark.parametrize(
    ("flipped", "outcome", "words"),
    [
        (2, Outcome.DIVERGED, "by luck every one of 49,152 symbols is identical"),
        (0, Outcome.DIVERGED, "but 20,112 of 49,152 values of means_hat differ"),
    ],
)
def test_mild_divergences_have_words_of_their_own(
    flipped: int, outcome: Outcome, words: str
) -> None:
    panel = replace(make_panel(CASE, lost=False), flipped_indexes=flipped)
    assert words in caption(panel, make_verdict(CASE, outcome))


def test_matrix_figure_is_deterministic_and_takes_any_choice(green_run: Run, red_run: Run) -> None:
    results = to_results(green_run)
    png = matrix_figure(results, ("fp32", "w8a8"))
    assert png == matrix_figure(results, ("fp32", "w8a8"))
    with opened(png) as picture:
        assert 600 < picture.size[0] < 3_000
    opened(matrix_figure(to_results(red_run), ())).close()
    opened(matrix_figure(results, ("none",))).close()
    every = [make_verdict(make_case(name=f"i{o.name}"), o) for o in Outcome]
    opened(matrix_figure(to_results(make_run(every)), ())).close()


def test_every_sign_can_be_drawn() -> None:
    verdicts = [make_verdict(make_case(f"p{o.name}"), o) for o in Outcome]
    opened(matrix_figure(to_results(make_run(verdicts)), ())).close()  # a missing glyph warns


def test_long_names_make_legal_and_distinct_file_names() -> None:
    one, two = (figure_name(make_case(name="x" * 300 + end)) for end in "ab")
    assert one != two
    assert len(one) < 240
