"""Widgets, colours, fonts, words and formats that more than one part of the window uses."""
