"""The inference server: Open Inference Protocol v2 around ONNX Runtime."""

import os

# From 1.29 on, ONNX Runtime's Linux wheels report models and use to their maker unless this is set before the
# library is loaded (microsoft/onnxruntime#27379). A site's server tells nobody.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
