"""The table of models, their details, their log, and asking one."""
