"""The models found on this machine, and downloads from the hub."""
