"""Importance maps: where the bits of a picture go. Pixels in, levels per cell out; no knowledge of the codec."""
