"""Training the codecs that ship: recipes, what a step sees (photographs, or clips made of them), the loop."""
