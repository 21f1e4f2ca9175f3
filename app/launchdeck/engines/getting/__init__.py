"""Getting an engine: published builds that fit this machine, fetched, checked, unpacked and asked."""
