"""The rules of message passing: values and step functions, without clock, chance or I/O."""
