"""The command line: one file for each verb. Verbs read, ask and print; what they show is made below them."""
