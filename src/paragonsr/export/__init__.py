"""Export of trained networks: ONNX, safetensors, and descriptions for model databases."""
