"""The vocabulary everybody shares: frozen values, no behaviour that touches the outside, no imports but the standard library."""
