"""The form that builds a launch: model, devices, layers, the estimate and the command."""
