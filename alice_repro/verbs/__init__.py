"""The verbs of the command line, thin: each imports what it needs when it is called."""
