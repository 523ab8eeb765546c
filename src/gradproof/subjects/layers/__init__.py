"""Networks written by hand: layers with a forward and a backward pass of their own."""
