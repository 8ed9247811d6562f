"""The demo model of hunch: tokenizer, data, model, optimiser, training, evaluation, export."""
