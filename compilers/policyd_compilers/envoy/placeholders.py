"""A certificate and key for validation only: published here on purpose, trusted by nobody, worth nothing.

Envoy's validator wants to parse a pair where SDS would deliver the real one; keys never reach a compiler.
"""

from policyd_compilers.envoy.static import Secrets

_CERTIFICATE = b"""-----BEGIN CERTIFICATE-----
MIIBhjCCAS2gAwIBAgIBATAKBggqhkjOPQQDAjApMScwJQYDVQQDDB5wb2xpY3lk
IHZhbGlkYXRpb24gcGxhY2Vob2xkZXIwIBcNMjAwMTAxMDAwMDAwWhgPOTk5OTEy
MzEyMzU5NTlaMCkxJzAlBgNVBAMMHnBvbGljeWQgdmFsaWRhdGlvbiBwbGFjZWhv
bGRlcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEqBoKnECJcavMXlHhVmnAC0
cUiGgHkQTiWOfXG9nKydOZ/lWWLHWSEpMInF5E4rFzqIpIp3D2KhclmlMRpH2Oej
RDBCMBIGA1UdEwEB/wQIMAYBAf8CAQAwLAYDVR0RBCUwI4Yhc3BpZmZlOi8vcGxh
Y2Vob2xkZXIuaW52YWxpZC9ub25lMAoGCCqGSM49BAMCA0cAMEQCIGHfsQuAwrM3
ZK88d1Gt2d+7VrgUl8sCZDhiz8V3wG8pAiBHPkoxhuqaqc3AdItp7rLbLxOWrgdW
qFKDqehSZVFCUQ==
-----END CERTIFICATE-----
"""
_KEY = b"""-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg5/oy/KhMMv2OEjD1
jLYTxKMW1zbdE3ftpxREyzy34GahRANCAARKgaCpxAiXGrzF5R4VZpwAtHFIhoB5
EE4ljn1xvZysnTmf5Vlix1khKTCJxeROKxc6iKSKdw9ioXJZpTEaR9jn
-----END PRIVATE KEY-----
"""

PLACEHOLDER = Secrets(certificate_chain=_CERTIFICATE, private_key=_KEY, roots=_CERTIFICATE)
"""Valid from 2020 to 9999, for `spiffe://placeholder.invalid/none`."""
