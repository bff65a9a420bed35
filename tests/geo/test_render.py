"""Pages and drawings: elements of steps are there, labels keep clear, diagrams are read safely."""

import re
from io import BytesIO

import pytest
from PIL import Image

from qr_cli.errors import DataError
from qr_cli.geo.diagrams import read_diagram
from qr_cli.geo.draw import OFFSET, distance, elements_in, place_label, svg
from qr_cli.geo.page import answer_line, html, svg_page
from qr_cli.geo.picture import Picture
from qr_cli.geo.records import Problem
from qr_cli.geo.render import png
from qr_cli.geo.solver import solve

TEXT = "PA and PB are tangents to circle O at A and B. ∠APB = 50°. Find ∠AOB."
PROOF = Problem(
    "p", "proving", "M is the midpoint of AC and BD. Prove that AB ∥ CD.",
    points={"A": (0, 3), "B": (5, 4), "C": (6, 0), "D": (1, -1), "M": (3, 1.5)},
)  # fmt: skip


def test_the_page_of_a_calculation_needs_nothing_else():
    page = html(solve(TEXT), TEXT)
    assert not re.search(r"<script|https?://(?!www\.w3\.org)|@import|url\(", page)
    assert "130°" in page
    assert "verified" in page
    assert "drawn from the text, not the original diagram" in page


def test_each_step_of_a_proof_lights_its_elements():
    page = html(solve(PROOF), PROOF.text)
    for n in range(1, 7):
        assert f'id="step-{n}"' in page
        assert re.search(rf'<g class="hl hl-{n}"><', page)
        assert f".page:has(#step-{n}:target) .hl-{n}" in page
    assert page.count('class="area"') >= 2


def test_text_is_escaped():
    page = html(solve("In △ABC, <b>AB</b> = 3. Find AB."), "<script>alert(1)</script>")
    assert "<script>" not in page


@pytest.mark.parametrize("problem", [TEXT, PROOF, "A circle has radius 3 cm. Find its area."])
def test_a_png_is_drawn(problem):
    answer = solve(problem)
    image = Image.open(BytesIO(png(answer, str(problem))))
    assert image.size == (1350, 720)
    assert len(image.convert("L").getcolors()) > 5


def test_a_figure_alone_is_an_svg_file():
    assert svg_page(solve(TEXT)).startswith("<svg")
    assert svg_page(solve("A circle has radius 3 cm. Find its area.")) is None


def test_labels_keep_clear_of_lines():
    at, lines = (100.0, 100.0), [((100.0, 100.0), (200.0, 100.0)), ((100.0, 100.0), (100.0, 200.0))]
    place = place_label(at, [], lines, [], [])
    assert min(distance(place, line) for line in lines) >= OFFSET * 0.99


def test_elements_are_found_in_words():
    assert elements_in("∠ABC ≅ ∠D, AB/CD and △ABC; Find it") == ["∠ABC", "∠D", "AB", "CD", "△ABC"]


def test_a_right_angle_has_its_square():
    drawn = svg(
        Picture({"A": (0, 1), "B": (0, 0), "C": (1, 0)}, [("A", "B")], (), [("A", "B", "C")])
    )
    assert "<polyline" in drawn


def test_the_answer_line():
    assert answer_line(solve("A circle has radius 3 cm. Find its area.").record).startswith(
        "9π cm²"
    )


def saved(path, image, **options):
    image.save(path, **options)
    return path


def test_diagrams_become_grey_on_white(tmp_path):
    clear = saved(tmp_path / "a.png", Image.new("RGBA", (3, 2), (0, 0, 0, 0)))
    assert Image.open(BytesIO(read_diagram(clear))).getpixel((0, 0)) == 255
    cmyk = saved(tmp_path / "c.jpg", Image.new("CMYK", (8, 8), (0, 0, 0, 255)))
    assert Image.open(BytesIO(read_diagram(cmyk))).mode == "L"


def test_diagrams_that_cannot_be_used_are_named(tmp_path):
    frames = [Image.new("L", (2, 2), c) for c in (0, 255)]
    moving = saved(tmp_path / "m.gif", frames[0], save_all=True, append_images=frames[1:])
    whole = saved(tmp_path / "w.png", Image.effect_noise((64, 64), 50)).read_bytes()
    (tmp_path / "t.png").write_bytes(whole[:400])
    (tmp_path / "x.png").write_text("no picture")
    for name, words in (("m.gif", "animation"), ("t.png", "truncated"), ("x.png", "no picture"),
                        ("none.png", "no such file")):  # fmt: skip
        with pytest.raises(DataError, match=words):
            read_diagram(tmp_path / name)
    assert moving.exists()
