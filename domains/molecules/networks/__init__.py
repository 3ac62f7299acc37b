"""Networks of the molecules domain; they need torch alone."""
