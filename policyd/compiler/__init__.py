"""What a compiler is: the contract between the mesh and a data plane.

A compiler turns the mesh, as one node should see it, into artefacts: xDS resources, configuration files or
manifests. It does no I/O, reads no clock, and gives the same bytes for the same mesh. What its proxy cannot say
it returns as losses. Compilers are found by the entry-point group `policyd.compilers`; the ones that ship with
policyd have no private door.
"""
