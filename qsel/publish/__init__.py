"""The book for others: as one PDF, and with the address of a public repository."""
