"""HTTP: how programs and people ask a running controller. Reads what the other stages produced; decides nothing."""
