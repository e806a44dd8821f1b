"""What threatens the determinism of an ONNX graph, proven or refuted node by node without running it. Knows no codec."""
