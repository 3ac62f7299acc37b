"""Networks of the fields domain."""
