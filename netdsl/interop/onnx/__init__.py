"""Networks as ONNX models: one rule for each layer, and what writes them down."""

from netdsl.interop.errors import ExportError
from netdsl.interop.onnx.write import OPSET, model, save

__all__ = ["OPSET", "ExportError", "model", "save"]
