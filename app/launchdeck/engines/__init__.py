"""One file per engine, the choice between them, and the plan."""
