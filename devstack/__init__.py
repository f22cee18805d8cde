"""What the demo, the tests and the bench stand on; never imported by the worker."""
