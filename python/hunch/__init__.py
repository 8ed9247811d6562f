"""hunch runs large language models and reads only the weights that matter for the token at hand.

    import hunch
    model = hunch.Model("model.gguf")
    print(model.generate("Once upon a time", n_tokens=64, temperature=0).text)

docs/python.md is the guide. Everything here is the C++ library (include/hunch/) in Python's words: options are keywords,
numbers of a text are numpy arrays, and errors are hunch.Error and the built-in exception that fits.
"""
from ._native import (Activations, Adapter, Batch, Calibration, Chat, ChatAnswer, Generation, LayerActivations, Mode, Model,
                      ModeReport, ModelInfo, Perplexity, Plan, Quantized, Scorer, Session, Stream, Training, TrainingStep, __version__, quantize)
from .errors import (Error, FormatError, InterruptedCallError, IoError, LimitError, NetworkError, NotFoundError,
                     OutOfMemoryError, UnsupportedError, UsageError)

__all__ = [
    "Activations", "Adapter", "Batch", "Calibration", "Chat", "ChatAnswer", "Error", "FormatError", "Generation",
    "InterruptedCallError", "IoError", "LayerActivations", "LimitError", "Mode", "ModeReport", "Model", "ModelInfo",
    "NetworkError", "NotFoundError", "OutOfMemoryError", "Perplexity", "Plan", "Quantized", "Scorer", "Session", "Stream",
    "Training", "TrainingStep", "UnsupportedError", "UsageError", "__version__", "quantize", "train"
]
def train(model, data, out, on_step=None, **options):
    """Model.train() of a Model, or of the model in a path, which is opened for it."""
    if isinstance(model, Model):
        return model.train(data, out, on_step, **options)
    with Model(model) as opened:
        return opened.train(data, out, on_step, **options)


# Their home for people is here, not in the module beneath.
for _name in __all__:
    if getattr(globals()[_name], "__module__", None) == "hunch._native":
        globals()[_name].__module__ = "hunch"
del _name
