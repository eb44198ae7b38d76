"""One colour for one layer in all pictures: page, trace, figure, and the recipe's notebook."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.output.html.html_details import layer_colour
from taxbreak_nsys.output.layer_stack import COLOURS, LAYER_OF_STATE, STATE_COLOURS, TITLES

NOTEBOOK = Path(__file__).resolve().parents[2] / "recipes" / "taxbreak_layers" / "taxbreak_layers.ipynb"


def test_the_notebook_has_the_colours_of_the_other_pictures() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    start = code.index("COLOURS = {")
    own = ast.literal_eval(code[start + len("COLOURS = ") : code.index("}", start) + 1])
    ours = {title.split(" (")[0]: COLOURS[key] for key, title in TITLES.items()}
    assert own == {title: ours[title] for title in own}
    assert len(own) > 5


def test_the_flame_graph_has_them_too() -> None:
    for layer in ("framework", "library", "launch path", "profiler"):
        assert layer_colour(layer) == COLOURS[layer.replace(" ", "_")]
    for state in STATES:
        assert layer_colour(state) in (COLOURS.get(LAYER_OF_STATE[state]), COLOURS.get(state), STATE_COLOURS[state])
