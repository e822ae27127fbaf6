"""The vocabulary: what a process can say, and its bytes.

In: plain Python values. Out: records as bytes, and back. On failure: a value without a plain form
costs only its own key (values.Unloggable); damaged bytes are told apart by checksum, never guessed
at. Every other room may call this one.
"""
