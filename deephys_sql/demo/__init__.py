"""The demonstration: Colored MNIST, end to end. Needs the extra `deephys-sql[demo]`."""
