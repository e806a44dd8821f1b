"""Lowerings: ONNX graphs that realise a network or its integer specification."""
