"""The decision server: `policyd decide`, a process of its own that any web server may be beside.

    bundle (file or URL) -> follower -> builder -> pieces -> worker: loading -> answers <- edge <- HTTP
    one parent: follows, verifies, compiles                  many workers: answer, share the port

Nothing here knows a controller: the signed bundle is all that is followed.
"""
