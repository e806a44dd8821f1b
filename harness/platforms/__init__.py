"""Platforms: who runs an ONNX graph, with which runtime and options, each in its own process."""
