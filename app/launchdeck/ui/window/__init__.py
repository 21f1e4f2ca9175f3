"""The window around the parts: bars, settings, tray, and how it is left."""
