"""The command ``minirnn``: its settings and presets, the training run, and what else it can be asked."""
