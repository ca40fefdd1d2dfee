"""A new engine as one would add it: this file, and an entry in `deploy.engines.ENGINES`."""

from deploy.interface import EngineKind


def load(reference, graph, settings):
    """Operator by operator in NumPy."""
    evaluator = reference.ReferenceEvaluator(str(graph.files[0]))
    return lambda arrays: graph.signature.named(evaluator.run(None, arrays)), {}


ENGINE = EngineKind(
    title="ONNX in NumPy",
    package="onnx.reference",
    install="onnx",
    formats=("onnx",),
    precisions=("fp32",),
    load=load,
)
