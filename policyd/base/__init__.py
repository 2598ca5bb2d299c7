"""The ground floor: findings, errors, clocks, content digests and logs. Imports nothing else of policyd."""
