"""One shim process per model, and the manager that watches over them all."""
