"""The flows: read, decide (pure), write. What others hear follows from the stream."""
