"""The book: its figures, exercises and sentences, and what executes and renders it."""
