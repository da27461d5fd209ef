"""How older forms of operators become today's, a table a file: operator → (opset that brought a new form, function), in order."""
