"""One file per source of GPU facts; `unified` puts them together."""
