"""The parts of the wiring tree: :mod:`.tree` draws, :mod:`.pod` knows a pod; :mod:`podwire.verify.wiring_tree` is the whole."""
