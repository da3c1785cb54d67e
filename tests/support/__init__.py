"""What several suites share: namespaces, and the marks that tell what a test needs."""
