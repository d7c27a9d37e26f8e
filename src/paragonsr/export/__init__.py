"""Trained networks for other programs: ONNX, safetensors, descriptions for model databases."""
