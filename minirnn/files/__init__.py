"""What is kept: models and runs in files, text of any size, parameters under PyTorch's names; and Ctrl-C."""
