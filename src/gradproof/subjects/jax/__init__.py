"""Functions of JAX's pytrees; the only place that imports JAX."""
