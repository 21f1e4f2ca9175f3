"""The vocabulary everybody shares: frozen values that touch nothing outside and import only the standard library."""
