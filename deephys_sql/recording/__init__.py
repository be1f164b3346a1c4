"""From a model, or from arrays, to the rows of a recording."""
