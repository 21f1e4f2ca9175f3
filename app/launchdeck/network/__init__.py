"""The way out: proxies, certificates, patience, and sentences for whatever stands in it."""
