"""What is checked: a function of named tensors, and the gradient claimed for it."""
