"""What a check found: plain frozen data (`model`, `entries`) and its renderers."""
