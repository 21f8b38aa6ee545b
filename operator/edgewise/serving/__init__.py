"""The inference server: Open Inference Protocol v2 around ONNX Runtime."""
