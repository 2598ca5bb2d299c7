"""The compilers that ship with policyd, one package per data plane."""
